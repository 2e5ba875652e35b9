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
    int operands = tsn_cli_parse(argc, argv, NULL, 0, "version",
                                 "Prints the version, the format version of internal records, and libraries.");

    if (operands != 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    printf("tocsin %s (record format %d)\nlibrdkafka %s\nhiredis %d.%d.%d\nlibcurl %s\n", TSN_VERSION,
           TSN_FORMAT_VERSION, rd_kafka_version_str(), HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH,
           curl_version_info(CURLVERSION_NOW)->version);
    return TSN_EXIT_OK;
}
