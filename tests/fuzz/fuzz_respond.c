/*
 * fuzz_respond: the first byte picks the record, the rest is read as what Redis or the topic `respond` gave back.
 * What decodes must encode, and the bytes must then be a fixed point; an incident that decodes must be one the core
 * can hold and let time pass over.
 */
#include "tocsin/respond_record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(struct tsn_respond_incident *in)
{
    struct tsn_policy policy;
    struct tsn_effects effects = { NULL, 0, 0 };
    struct tsn_respond *r;

    tsn_policy_init_default(&policy);
    r = tsn_respond_new(&policy, NULL);
    tsn_respond_restore(r, in, NULL);
    tsn_respond_tick(r, INT64_C(1800000000000), &effects);
    tsn_effects_release(&effects);
    tsn_respond_free(&r);
    tsn_policy_release(&policy);
}

#define FIXED_POINT(type, decode, encode, release)                                              \
    do {                                                                                        \
        struct type a, b;                                                                       \
        struct tsn_buf once = TSN_BUF_INIT, twice = TSN_BUF_INIT;                               \
                                                                                                \
        if (decode(data, size, &a, NULL) != TSN_OK)                                             \
            break;                                                                              \
        encode(&a, &once);                                                                      \
        if (decode(once.data, once.len, &b, NULL) == TSN_OK) {                                  \
            encode(&b, &twice);                                                                 \
            TSN_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);  \
            release(&b);                                                                        \
        }                                                                                       \
        release(&a);                                                                            \
        tsn_buf_release(&once);                                                                 \
        tsn_buf_release(&twice);                                                                \
    } while (0)

static void incident_release(struct tsn_respond_incident *in)
{
    hold(in);
    tsn_respond_incident_release(in);
}

static void entry_release(struct tsn_outbox_entry *entry)
{
    memset(entry, 0, sizeof *entry);
}

static void try_mark(const char *text, size_t len)
{
    struct tsn_respond_mark a, b;
    char out[TSN_RESPOND_MARK_TEXT];

    if (tsn_respond_mark_parse(text, len, &a, NULL) != TSN_OK)
        return;
    tsn_respond_mark_format(out, &a);
    TSN_ASSERT(tsn_respond_mark_parse(out, strlen(out), &b, NULL) == TSN_OK && memcmp(&a, &b, sizeof a) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int which;

    if (!size)
        return 0;
    which = data[0] % 5;
    data++;
    size--;
    switch (which) {
    case 0:
        FIXED_POINT(tsn_respond_incident, tsn_respond_incident_decode, tsn_respond_incident_encode, incident_release);
        break;
    case 1: FIXED_POINT(tsn_outbox_entry, tsn_outbox_entry_decode, tsn_outbox_entry_encode, entry_release); break;
    case 2: FIXED_POINT(tsn_page, tsn_page_decode, tsn_page_encode, tsn_page_release); break;
    case 3:
        FIXED_POINT(tsn_respond_answer, tsn_respond_answer_decode, tsn_respond_answer_encode, tsn_respond_answer_release);
        break;
    default: try_mark((const char *)data, size); break;
    }
    return 0;
}
