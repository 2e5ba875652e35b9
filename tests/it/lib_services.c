/* lib_services: see the header. */
#include "lib_services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

char *tsn_it_instance_address(const char *instance, const char *variable)
{
    char path[256], line[512], *found = NULL;
    size_t len = strlen(variable);
    FILE *in;

    snprintf(path, sizeof path, "build/services/%s/env", instance);
    in = fopen(path, "r");
    while (in && !found && fgets(line, sizeof line, in)) {
        const char *name = strncmp(line, "export ", 7) == 0 ? line + 7 : line;

        if (strncmp(name, variable, len) == 0 && name[len] == '=')
            found = tsn_strndup(name + len + 1, strcspn(name + len + 1, "\r\n"));
    }
    if (in)
        fclose(in);
    return found;
}

static const char *address(const char *variable)
{
    const char *value = getenv(variable);

    if (value && *value)
        return value;
    value = tsn_it_instance_address("main", variable);
    if (!value) {
        fprintf(stderr, "%s is unknown: run tests/it/services.sh start first\n", variable);
        exit(1);
    }
    setenv(variable, value, 1);
    tsn_free((char *)value);
    return getenv(variable);
}

const char *tsn_it_kafka(void) { return address("TOCSIN_IT_KAFKA"); }
const char *tsn_it_registry(void) { return address("TOCSIN_IT_REGISTRY"); }
const char *tsn_it_redis(void) { return address("TOCSIN_IT_REDIS"); }

char *tsn_it_name(const char *stem)
{
    static int counter;
    char text[128];

    snprintf(text, sizeof text, "it-%s-%d-%llx-%d", stem, (int)getpid(),
             (unsigned long long)tsn_wall_now().ms & 0xffffff, ++counter);
    return tsn_strdup(text);
}

int tsn_it_service(const char *instance, const char *command, const char *service)
{
    char line[512];
    int status;

    snprintf(line, sizeof line, "mkdir -p build/services; tests/it/services.sh -i %s %s %s >>build/services/faults.log 2>&1",
             instance ? instance : "main", command, service ? service : "");
    status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int64_t tsn_it_now_ms(void) { return tsn_mono_now().ns / 1000000; }

void tsn_it_sleep_ms(int ms)
{
    struct timespec pause = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&pause, NULL);
}
