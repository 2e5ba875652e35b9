/*
 * avro_schemas: the schemas of our own input events, as the program carries them: bare Avro is read by them where the
 * configuration names no other. Each is the file of its name under schemas/; a test compares them.
 */
#include "tocsin/avro_plan.h"

#include <string.h>

static const char metric[] =
    "{\"type\":\"record\",\"namespace\":\"tocsin.v1\",\"name\":\"Metric\","
    "\"doc\":\"One sample of one series.\",\"fields\":[{\"name\":\"name\",\"type\":\"string\"},"
    "{\"name\":\"labels\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"default\":{}},{\"name\":\"value\","
    "\"type\":\"double\"},{\"name\":\"timestamp\",\"type\":{\"type\":\"long\","
    "\"logicalType\":\"timestamp-millis\"}},{\"name\":\"kind\",\"type\":[\"null\",{\"type\":\"enum\","
    "\"name\":\"MetricKind\",\"symbols\":[\"gauge\",\"counter\",\"delta\"]}],"
    "\"doc\":\"null: by the suffix of the name\",\"default\":null}]}";

static const char log_event[] =
    "{\"type\":\"record\",\"namespace\":\"tocsin.v1\",\"name\":\"Log\",\"doc\":\"One log event.\","
    "\"fields\":[{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}},"
    "{\"name\":\"service\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"environment\","
    "\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"level\",\"type\":[\"null\",\"string\"],"
    "\"default\":null},{\"name\":\"message\",\"type\":\"string\"},{\"name\":\"logger\",\"type\":[\"null\","
    "\"string\"],\"default\":null},{\"name\":\"module\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"function\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"line\","
    "\"type\":[\"null\",\"long\"],\"default\":null},{\"name\":\"request_id\",\"type\":[\"null\",\"string\"],"
    "\"default\":null},{\"name\":\"user_id\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"hook_id\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"hook_type\","
    "\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"processing_time\",\"type\":[\"null\","
    "\"double\"],\"default\":null},{\"name\":\"patterns_discovered\",\"type\":[\"null\",\"long\"],"
    "\"default\":null},{\"name\":\"error_type\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"error_message\",\"type\":[\"null\",\"string\"],\"default\":null}]}";

static const char hook[] =
    "{\"type\":\"record\",\"namespace\":\"tocsin.v1\",\"name\":\"Hook\",\"doc\":\"One hook, processed.\","
    "\"fields\":[{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}},"
    "{\"name\":\"service\",\"type\":\"string\"},{\"name\":\"environment\",\"type\":[\"null\",\"string\"],"
    "\"default\":null},{\"name\":\"hook_id\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"hook_type\",\"type\":\"string\"},{\"name\":\"status\",\"type\":{\"type\":\"enum\","
    "\"name\":\"HookStatus\",\"symbols\":[\"success\",\"error\"]}},{\"name\":\"processing_time_ms\","
    "\"type\":[\"null\",\"double\"],\"default\":null},{\"name\":\"patterns_discovered\",\"type\":[\"null\","
    "\"long\",{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"PatternCount\","
    "\"fields\":[{\"name\":\"pattern_type\",\"type\":\"string\"},{\"name\":\"count\",\"type\":\"long\"}]}}],"
    "\"default\":null},{\"name\":\"error_type\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"error_message\",\"type\":[\"null\",\"string\"],\"default\":null}]}";

const char *tsn_avro_own_schema(const char *name)
{
    if (strcmp(name, "Metric") == 0)
        return metric;
    if (strcmp(name, "Log") == 0)
        return log_event;
    return strcmp(name, "Hook") == 0 ? hook : NULL;
}
