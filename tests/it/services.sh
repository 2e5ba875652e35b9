#!/usr/bin/env bash
# Private services for the integration tests: Kafka (KRaft, one node), a schema registry, Redis.
#
#   tests/it/services.sh [-i INSTANCE] COMMAND [SERVICE…]
#
#   start [kafka] [registry] [redis]   starts what is named (default: all three) and waits until it answers
#   stop [SERVICE…]                    ends it for good (data stays until the next fresh start)
#   status                             one line a service: name, state, pid, address; exit 1 if any is down
#   env                                the addresses, as shell assignments (also in build/services/INSTANCE/env)
#   kill|term SERVICE                  SIGKILL, or SIGTERM with a bounded wait
#   pause|resume SERVICE               SIGSTOP, SIGCONT
#   restart SERVICE                    same port, same data: what a fault test needs after kill
#   streams                            fetches Kafka Streams and prints the folder of its jars
#   wipe SERVICE                       removes the data of a service that is down
#
# Everything lives under build/services/INSTANCE (default "main"): data, logs, pids, the address file. Ports are free
# ones, picked at the first start and kept. Instances do not know each other, so a fault test may take
# a broker of its own. Jars come through maven into build/jars, once. Waits are bounded; a service that does not
# come up prints the end of its log. To use the services by hand:
#
#   tests/it/services.sh start && . build/services/main/env && kcat -b "$TOCSIN_IT_KAFKA" -L
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
instance=main
if [ "${1:-}" = -i ]; then instance=$2; shift 2; fi
command=${1:-status}
shift || true
dir=$top/build/services/$instance
jars=$top/build/jars
kafka_version=4.3.1
registry_version=2.6.13.Final
mkdir -p "$dir"

say() { echo "services[$instance]: $*"; }

# ---- jars -----------------------------------------------------------------------------------------------------

# dependency GROUP ARTIFACT VERSION [EXTRA]: one <dependency> of a pom
dependency() {
    printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>%s</dependency>\n' "$1" "$2" "$3" "${4:-}"
}

# fetch NAME: reads dependencies on stdin, puts their jars into build/jars/NAME. Atomic by rename, so that two test runs can share it.
fetch() {
    local name=$1 tmp
    [ -d "$jars/$name" ] && { cat >/dev/null; return 0; }
    mkdir -p "$jars"
    tmp=$(mktemp -d "$jars/.$name.XXXXXX")
    {
        echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        echo "<groupId>tocsin.it</groupId><artifactId>$name</artifactId><version>1</version><packaging>pom</packaging><dependencies>"
        cat
        echo '</dependencies></project>'
    } >"$tmp/pom.xml"
    if ! timeout 400 mvn -q -B -f "$tmp/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tmp/out" >"$tmp/log" 2>&1; then
        say "maven could not fetch $name:"; tail -5 "$tmp/log"; rm -rf "$tmp"; return 1
    fi
    mv -T "$tmp/out" "$jars/$name" 2>/dev/null || true
    rm -rf "$tmp"
}

fetch_kafka() {
    { dependency org.apache.kafka kafka_2.13 $kafka_version
      dependency org.apache.kafka kafka-tools $kafka_version
      dependency org.slf4j slf4j-simple 1.7.36; } | fetch "kafka-$kafka_version"
}

# Kafka Streams, for the bench that compares with it.
fetch_streams() {
    { dependency org.apache.kafka kafka-streams $kafka_version
      dependency org.slf4j slf4j-simple 1.7.36; } | fetch "streams-$kafka_version"
}

fetch_registry() {
    local only='<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>' out tmp
    dependency io.apicurio apicurio-registry-app $registry_version "<classifier>all</classifier><type>tar.gz</type>$only" |
        fetch "registry-$registry_version" || return 1
    out=$jars/registry-$registry_version/app
    [ -d "$out" ] && return 0
    tmp=$(mktemp -d "$jars/.app.XXXXXX")
    tar -C "$tmp" -xzf "$jars/registry-$registry_version"/*.tar.gz && mv -T "$tmp" "$out" 2>/dev/null
    rm -rf "$tmp"
    [ -d "$out" ]
}

# ---- processes ------------------------------------------------------------------------------------------------

pid_of() { cat "$dir/$1.pid" 2>/dev/null; }
alive() { local p; p=$(pid_of "$1") && [ -n "$p" ] && kill -0 "$p" 2>/dev/null; }

# spawn SERVICE COMMAND…: detached from the caller's process group and terminal, log in SERVICE.log
spawn() {
    local name=$1
    shift
    setsid nohup "$@" </dev/null >>"$dir/$name.log" 2>&1 &
    echo $! >"$dir/$name.pid"
    disown
}

port_of() {
    local f=$dir/$1.port
    [ -s "$f" ] || python3 "$top/tests/it/probe.py" >"$f"
    cat "$f"
}

# wait_until SECONDS SERVICE COMMAND…: the command must succeed while the service lives
wait_until() {
    local limit=$1 name=$2 end
    shift 2
    end=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        if ! alive "$name" || [ $SECONDS -ge $end ]; then
            say "$name did not come up; end of its log:"; tail -n 20 "$dir/$name.log"; return 1
        fi
        sleep 0.2
    done
}

end_process() {
    local name=$1 signal=$2 p end
    p=$(pid_of "$name") || return 0
    kill -CONT "$p" 2>/dev/null
    kill "-$signal" "$p" 2>/dev/null
    end=$((SECONDS + 20))
    while kill -0 "$p" 2>/dev/null; do
        [ $SECONDS -ge $end ] && kill -KILL "$p" 2>/dev/null
        sleep 0.1
    done
    rm -f "$dir/$name.pid"
}

# ---- Kafka ----------------------------------------------------------------------------------------------------

kafka_config() {
    local port=$1 controller=$2
    cat <<CONFIG
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/kafka-data
num.partitions=4
auto.create.topics.enable=false
message.max.bytes=11000000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
log.retention.check.interval.ms=300000
log.cleaner.dedupe.buffer.size=8388608
controlled.shutdown.enable=false
CONFIG
    # What a test wants otherwise; the last line of a name counts.
    [ ! -e "$dir/kafka.extra" ] || cat "$dir/kafka.extra"
}

java_kafka() {
    local main=$1
    shift
    spawn_or_run java -Xms128m -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=4 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/kafka-$kafka_version/*" "$main" "$@"
}
spawn_or_run() { if [ -n "${spawn_as:-}" ]; then spawn "$spawn_as" "$@"; else "$@"; fi; }

start_kafka() {
    local port controller
    fetch_kafka || return 1
    port=$(port_of kafka) controller=$(port_of controller)
    kafka_config "$port" "$controller" >"$dir/kafka.properties"
    if [ ! -e "$dir/kafka-data/meta.properties" ]; then
        spawn_as='' java_kafka kafka.tools.StorageTool format --standalone -t "$(python3 "$top/tests/it/probe.py" --uuid)" \
            -c "$dir/kafka.properties" >"$dir/kafka-format.log" 2>&1 || { cat "$dir/kafka-format.log"; return 1; }
    fi
    spawn_as=kafka java_kafka kafka.Kafka "$dir/kafka.properties"
    wait_until 90 kafka python3 "$top/tests/it/probe.py" --kafka-ready "127.0.0.1:$port"
}

# ---- registry and Redis ---------------------------------------------------------------------------------------

start_registry() {
    local port
    fetch_registry || return 1
    port=$(port_of registry)
    # Its store is memory: a restart forgets every schema, as a wiped registry would.
    spawn registry java -Xms64m -Xmx256m -XX:+UseSerialGC -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
        -Dregistry.storage.db-kind=h2 -cp "$jars/registry-$registry_version/app/*:$jars/registry-$registry_version/app/lib/*" \
        io.quarkus.runner.GeneratedMain
    wait_until 90 registry python3 "$top/tests/it/probe.py" --http-ready "http://127.0.0.1:$port/apis/ccompat/v7/subjects"
}

start_redis() {
    local port server
    port=$(port_of redis)
    # Debian's redis-check-rdb is the server by another name; under the name redis-server it serves.
    server=$(command -v redis-server || true)
    if [ -z "$server" ]; then
        server=$dir/redis-server
        ln -sf "$(command -v redis-check-rdb)" "$server"
    fi
    mkdir -p "$dir/redis-data"
    # redis.disk holds a size: Redis then lives on a file system of that size in a mount namespace of its own, which a test can fill through
    # /proc/PID/root. The data is gone with the process.
    local disk=()
    [ ! -s "$dir/redis.disk" ] ||
        disk=(unshare -rm sh -c "mount -t tmpfs -o size=$(cat "$dir/redis.disk") tmpfs '$dir/redis-data' && exec \"\$@\"" sh)
    spawn redis "${disk[@]}" "$server" --bind 127.0.0.1 --port "$port" --dir "$dir/redis-data" --save '' --appendonly yes \
        --appendfsync everysec --daemonize no
    wait_until 20 redis redis-cli -p "$port" ping
}

# ---- commands -------------------------------------------------------------------------------------------------

write_env() {
    {
        echo "TOCSIN_IT_INSTANCE=$instance"
        [ -s "$dir/kafka.port" ] && echo "TOCSIN_IT_KAFKA=127.0.0.1:$(cat "$dir/kafka.port")"
        [ -s "$dir/registry.port" ] && echo "TOCSIN_IT_REGISTRY=http://127.0.0.1:$(cat "$dir/registry.port")/apis/ccompat/v7"
        [ -s "$dir/redis.port" ] && echo "TOCSIN_IT_REDIS=redis://127.0.0.1:$(cat "$dir/redis.port")/0"
    } | sed 's/^/export /' >"$dir/env.new"
    mv "$dir/env.new" "$dir/env"
}

start_one() {
    if alive "$1"; then say "$1 runs already (pid $(pid_of "$1"))"; return 0; fi
    local begin=$SECONDS
    "start_$1" || return 1
    say "$1 answers on 127.0.0.1:$(port_of "$1") after $((SECONDS - begin)) s"
}

wipe() {
    alive "$1" && { say "$1 still runs"; return 1; }
    rm -rf "$dir/${1:?}-data"
}

case $command in
start)
    [ $# -eq 0 ] && set -- kafka registry redis
    for s in "$@"; do alive "$s" || rm -rf "$dir/$s-data" "$dir/$s.log" "$dir/$s.port"; done
    rc=0
    # The slow ones together: a broker and a registry need some seconds of start-up each.
    pids=()
    for s in "$@"; do start_one "$s" & pids+=($!); done
    for p in "${pids[@]}"; do wait "$p" || rc=1; done
    write_env
    [ $rc -eq 0 ] && echo "$# passed, 0 failed"
    exit $rc
    ;;
stop)
    [ $# -eq 0 ] && set -- registry kafka redis
    for s in "$@"; do alive "$s" && end_process "$s" TERM && say "$s stopped"; done
    exit 0
    ;;
restart) for s in "$@"; do alive "$s" && end_process "$s" TERM; start_one "$s" || exit 1; done; write_env ;;
kill) for s in "$@"; do end_process "$s" KILL; done ;;
term) for s in "$@"; do end_process "$s" TERM; done ;;
pause) for s in "$@"; do kill -STOP "$(pid_of "$s")"; done ;;
resume) for s in "$@"; do kill -CONT "$(pid_of "$s")"; done ;;
wipe) for s in "$@"; do wipe "$s" || exit 1; done ;;
env) cat "$dir/env" ;;
streams) fetch_streams && echo "$jars/streams-$kafka_version" ;;
status)
    rc=0
    for s in kafka registry redis; do
        if alive "$s"; then echo "$s up pid=$(pid_of "$s") 127.0.0.1:$(cat "$dir/$s.port")"; else echo "$s down"; rc=1; fi
    done
    exit $rc
    ;;
*) sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
esac
