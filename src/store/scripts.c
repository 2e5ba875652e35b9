/*
 * scripts: what Redis runs, whole or not at all. KEYS[1] is the meta hash, KEYS[2] the prefix of the data set's keys
 * (no Redis Cluster: keys may be made up here). The first element of each answer is a word.
 *
 * A script fails for want of memory at its first write or not at all, so nothing is ever half done.
 */
#include "store/store_int.h"

/* What every owner's script begins with: is this the data set, and is the caller its owner? */
#define OWNER                                                                                  \
    "local m = redis.call('HMGET', KEYS[1], 'run', 'generation', 'cursor', 'trimmed', 'alerts', 'commands', 'clock')\n" \
    "if not m[1] then return {'MISSING'} end\n"                                                \
    "if m[1] ~= ARGV[1] then return {'OTHER'} end\n"                                           \
    "local gen, mine = tonumber(m[2]), tonumber(ARGV[2])\n"                                    \
    "if gen > mine then return {'FENCED'} end\n"                                               \
    "if gen < mine then return {'BEHIND'} end\n"

const char *const store_scripts[STORE_SCRIPTS] = {
    /* ARGV: run or '', generation, cursor as committed. → OK run generation cursor trimmed alerts commands clock */
    [STORE_TAKEOVER] =
        "local m = redis.call('HMGET', KEYS[1], 'run', 'generation', 'cursor', 'trimmed', 'alerts', 'commands', 'clock', 'format')\n"
        "for i = 1, 8 do if not m[i] then return {'MISSING'} end end\n"
        "for i = 2, 8 do if not tonumber(m[i]) then return {'DAMAGED'} end end\n"
        "if tonumber(m[8]) > tonumber(ARGV[4]) then return {'NEWER', m[8]} end\n"
        "if ARGV[1] ~= '' and m[1] ~= ARGV[1] then return {'OTHER'} end\n"
        "if tonumber(m[2]) < tonumber(ARGV[2]) or tonumber(m[3]) < tonumber(ARGV[3]) then return {'BEHIND'} end\n"
        "local p = ARGV[5] .. m[1] .. ':'\n"
        "if redis.call('LLEN', p .. 'outbox') ~= tonumber(m[3]) - tonumber(m[4]) then return {'DAMAGED'} end\n"
        "local g = redis.call('HINCRBY', KEYS[1], 'generation', 1)\n"
        "return {'OK', m[1], g, m[3], m[4], m[5], m[6], m[7]}\n",

    /* ARGV: run generation | kind offset | before: cursor alerts commands | after: alerts commands clock |
     * outbox max, pages max, answer ttl | counts of saves, forgets, entries, pages, answers | saves: id record version
     * state severity due opened | forgets: id | entries | pages | answers: command text. → OK cursor */
    [STORE_APPLY] = OWNER
        "local p = KEYS[2]\n"
        "local kind, offset = ARGV[3], tonumber(ARGV[4])\n"
        "if kind ~= 'tick' and offset <= tonumber(m[kind == 'alerts' and 5 or 6]) then return {'DUPLICATE'} end\n"
        "if m[3] ~= ARGV[5] or m[5] ~= ARGV[6] or m[6] ~= ARGV[7] then return {'BEHIND'} end\n"
        "local saves, forgets, entries, pages, answers = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16]),\n"
        "      tonumber(ARGV[17]), tonumber(ARGV[18])\n"
        "local waiting = redis.call('LLEN', p .. 'outbox')\n"
        "if waiting ~= tonumber(m[3]) - tonumber(m[4]) then return {'DAMAGED'} end\n"
        "if entries > 0 and waiting > 0 and waiting + entries > tonumber(ARGV[11]) then return {'FULL', 'outbox'} end\n"
        "local untold = pages > 0 and redis.call('LLEN', p .. 'pages') or 0\n"
        "if untold > 0 and untold + pages > tonumber(ARGV[12]) then return {'FULL', 'pages'} end\n"
        "local a = 19\n"
        "for i = 1, saves do\n"
        "  local id, due = ARGV[a], ARGV[a + 5]\n"
        "  redis.call('HSET', p .. 'incident:' .. id, 'record', ARGV[a + 1], 'version', ARGV[a + 2],\n"
        "             'state', ARGV[a + 3], 'severity', ARGV[a + 4], 'due', due)\n"
        "  redis.call('ZADD', p .. 'incidents', ARGV[a + 6], id)\n"
        "  if due == '' then redis.call('ZREM', p .. 'timers', id) else redis.call('ZADD', p .. 'timers', due, id) end\n"
        "  a = a + 7\n"
        "end\n"
        "for i = 1, forgets do\n"
        "  redis.call('DEL', p .. 'incident:' .. ARGV[a])\n"
        "  redis.call('ZREM', p .. 'incidents', ARGV[a])\n"
        "  redis.call('ZREM', p .. 'timers', ARGV[a])\n"
        "  a = a + 1\n"
        "end\n"
        "for i = 1, entries do redis.call('RPUSH', p .. 'outbox', ARGV[a]) a = a + 1 end\n"
        "for i = 1, pages do redis.call('RPUSH', p .. 'pages', ARGV[a]) a = a + 1 end\n"
        "for i = 1, answers do\n"
        "  redis.call('SET', p .. 'answer:' .. ARGV[a], ARGV[a + 1], 'PX', ARGV[13])\n"
        "  a = a + 2\n"
        "end\n"
        "local cursor = redis.call('HINCRBY', KEYS[1], 'cursor', entries)\n"
        "redis.call('HSET', KEYS[1], 'alerts', ARGV[8], 'commands', ARGV[9], 'clock', ARGV[10])\n"
        "return {'OK', cursor}\n",

    /* ARGV: run generation cursor. → OK trimmed */
    [STORE_TRIM] = OWNER
        "local to, at = tonumber(ARGV[3]), tonumber(m[4])\n"
        "if to > tonumber(m[3]) then return {'BEHIND'} end\n"
        "if to > at then\n"
        "  redis.call('LTRIM', KEYS[2] .. 'outbox', to - at, -1)\n"
        "  redis.call('HSET', KEYS[1], 'trimmed', ARGV[3])\n"
        "  at = to\n"
        "end\n"
        "return {'OK', at}\n",

    /* ARGV: run generation count. → OK */
    [STORE_PAGES_DONE] = OWNER
        "redis.call('LTRIM', KEYS[2] .. 'pages', ARGV[3], -1)\n"
        "return {'OK'}\n",

    /* A data set that does not count yet. ARGV: as a save of apply, one. → OK */
    [STORE_ADD] =
        "local p, id, due = KEYS[2], ARGV[1], ARGV[6]\n"
        "redis.call('HSET', p .. 'incident:' .. id, 'record', ARGV[2], 'version', ARGV[3],\n"
        "           'state', ARGV[4], 'severity', ARGV[5], 'due', due)\n"
        "redis.call('ZADD', p .. 'incidents', ARGV[7], id)\n"
        "if due ~= '' then redis.call('ZADD', p .. 'timers', due, id) end\n"
        "return {'OK'}\n",

    /* Makes a data set the one that counts. ARGV: run, generation at least, generation seen before or '',
     * cursor alerts commands clock format. → OK generation */
    [STORE_SWITCH] =
        "if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end\n"
        "local now = tonumber(redis.call('HGET', KEYS[1], 'generation') or '') or 0\n"
        "if now ~= tonumber(ARGV[3]) then return {'FENCED'} end\n"
        "local g = math.max(now, tonumber(ARGV[2])) + 1\n"
        "redis.call('DEL', KEYS[1])\n"
        "redis.call('HSET', KEYS[1], 'run', ARGV[1], 'generation', string.format('%.0f', g), 'cursor', ARGV[4], 'trimmed', ARGV[4],\n"
        "           'alerts', ARGV[5], 'commands', ARGV[6], 'clock', ARGV[7], 'format', ARGV[8])\n"
        "return {'OK', g}\n",
};
