/* version: what this build is made of. */
#include "cli/cli.h"
#include "tocsin/model.h"

#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>

#define TSN_VERSION "0.1.0"

int tsn_cmd_version(int argc, char **argv)
{
    const char *output = "table";
    struct tsn_option options[] = { { "output", TSN_OPT_TEXT, &output, "table|json", "json: one object", 0, 0 } };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "version [OPTIONS]",
                                 "Prints the version, the format version of internal records, and libraries.\n\nExamples:\n"
                                 "  tocsin version\n  tocsin version --output json | jq -r .version");
    bool json = strcmp(output, "json") == 0;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0 || (!json && strcmp(output, "table") != 0)) {
        fputs("tocsin: usage: tocsin version [--output table|json]\n", stderr);
        return TSN_EXIT_USAGE;
    }
    printf(json ? "{\"version\":\"%s\",\"format\":%d,\"librdkafka\":\"%s\",\"hiredis\":\"%d.%d.%d\",\"libcurl\":\"%s\"}\n"
                : "tocsin %s (record format %d)\nlibrdkafka %s\nhiredis %d.%d.%d\nlibcurl %s\n", TSN_VERSION,
           TSN_FORMAT_VERSION, rd_kafka_version_str(), HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH,
           curl_version_info(CURLVERSION_NOW)->version);
    return TSN_EXIT_OK;
}
