/* services: what the demo brings along: a folder of its own, the shipped rules in it, a Redis nobody else talks to. */
#ifndef TOCSIN_DEMO_SERVICES_H
#define TOCSIN_DEMO_SERVICES_H

#include "tocsin/base.h"

#include <sys/types.h>

/* The rule files of docker/rules that travel in the program; generated, in order of names. */
struct tsn_rule_file {
    const char *name, *text;
};
extern const struct tsn_rule_file tsn_rule_files[];
extern const size_t tsn_rule_file_count;

struct demo_services {
    char dir[128]; /* "": none */
    pid_t redis;   /* 0: not running */
    int redis_port;
    char redis_password[33];
};
/* Call before the first thread is started: it forks. Redis keeps nothing on disk, listens on 127.0.0.1 with a password of its own, and dies
 * with this process, however that ends. On an error all is undone. NOT_FOUND: there is no redis-server. */
enum tsn_err demo_services_start(struct demo_services *s, struct tsn_error *error);
void demo_services_stop(struct demo_services *s);

#endif
