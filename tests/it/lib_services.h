/*
 * lib_services: what an integration test needs of tests/it/services.sh, from C.
 *
 * Addresses come from the environment (TOCSIN_IT_KAFKA …) or else from build/services/main/env, which
 * `services.sh start` leaves. A test without its services fails with a word: a skip would hide that nothing was proved.
 * Every test works in topics, groups and keys of its own (tsn_it_name), so that order and repeats do not matter.
 */
#ifndef TOCSIN_TESTS_LIB_SERVICES_H
#define TOCSIN_TESTS_LIB_SERVICES_H

#include "tocsin/base.h"

/* "127.0.0.1:26291"; ends the process with a word if unknown. Static storage. */
const char *tsn_it_kafka(void);
/* "http://127.0.0.1:21777/apis/ccompat/v7" */
const char *tsn_it_registry(void);
/* "redis://127.0.0.1:26073/0" */
const char *tsn_it_redis(void);
/* "it-<stem>-<pid>-<n>": a name nobody else uses. Caller frees. */
char *tsn_it_name(const char *stem);
/* Runs `services.sh [-i instance] command service`; instance NULL: main. Returns its exit code. */
int tsn_it_service(const char *instance, const char *command, const char *service);
/* Address of a service of another instance, from its env file (variable e.g. "TOCSIN_IT_KAFKA"). NULL if unknown. Caller frees. */
char *tsn_it_instance_address(const char *instance, const char *variable);
/* Monotonic milliseconds, and a sleep. */
int64_t tsn_it_now_ms(void);
void tsn_it_sleep_ms(int ms);

#endif
