/*
 * Goal: whatever Redis answers, the store returns an error or values that were checked.
 * Method: the first byte picks the calls, the rest is what the other end of a socket has sent before the first of them. So that mutations stay
 * inside the protocol, a line is a reply unless the first byte's high bit says that the bytes go out as they are:
 *
 *     $text with \xHH · :integer · +status · -error · *elements (their lines follow) · !i !e !p !a  a record that is right
 *
 * tests/it/it_store_answers.c does the same from the other side: seeded replies to every request, cut off and late.
 */
#include "store/store_int.h"

#include <ctype.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define T0 INT64_C(1700000000000)
#define ID "inc-0123456789abcdef"

static struct tsn_config config;
static struct tsn_policy policy;

/* ---- what is sent -------------------------------------------------------------------------- */

static void put_bulk(struct tsn_buf *out, const struct tsn_buf *text)
{
    tsn_buf_printf(out, "$%zu\r\n", text->len);
    tsn_buf_append(out, tsn_buf_str(text), text->len);
    tsn_buf_puts(out, "\r\n");
}

static void put_record(struct tsn_buf *out, char which)
{
    struct tsn_respond_incident in = { .pub = { .severity = 2, .level = 1, .version = 1, .opened_at_ms = T0, .escalate_at_ms = T0 + 60000 } };
    struct tsn_outbox_entry entry = { .kind = TSN_OUTBOX_EVENT, .seq = 1, .last = true, .value = "{}", .len = 2, .event_time_ms = T0 };
    struct tsn_page page = { .level = 1, .severity = 2, .title = (char *)(uintptr_t)"t", .reason = (char *)(uintptr_t)"r", .at_ms = T0 };
    struct tsn_respond_answer answer = { .code = TSN_OK, .version = 3, .message = (char *)(uintptr_t)"done" };
    struct tsn_buf text = TSN_BUF_INIT;

    memcpy(in.pub.incident_id, ID, sizeof ID);
    memcpy(entry.incident_id, ID, sizeof ID);
    memcpy(answer.incident_id, ID, sizeof ID);
    memcpy(page.dedup_key, ID ":L1", sizeof ID ":L1");
    switch (which) {
    case 'i': tsn_respond_incident_encode(&in, &text); break;
    case 'e': tsn_outbox_entry_encode(&entry, &text); break;
    case 'p': tsn_page_encode(&page, &text); break;
    default: tsn_respond_answer_encode(&answer, &text); break;
    }
    put_bulk(out, &text);
    tsn_buf_release(&text);
}

static int hex(char c) { return c <= '9' ? c - '0' : tolower((unsigned char)c) - 'a' + 10; }

static void put_text(struct tsn_buf *out, const char *line, size_t len)
{
    struct tsn_buf text = TSN_BUF_INIT;

    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\\' && i + 3 < len && line[i + 1] == 'x' && isxdigit((unsigned char)line[i + 2]) && isxdigit((unsigned char)line[i + 3])) {
            tsn_buf_putc(&text, (char)(hex(line[i + 2]) * 16 + hex(line[i + 3])));
            i += 3;
        } else {
            tsn_buf_putc(&text, line[i]);
        }
    }
    put_bulk(out, &text);
    tsn_buf_release(&text);
}

static void put_replies(struct tsn_buf *out, const char *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *line = data + at, *end = memchr(line, '\n', size - at);
        size_t len = end ? (size_t)(end - line) : size - at;

        at += len + 1;
        if (len && *line == '$') {
            put_text(out, line + 1, len - 1);
        } else if (len > 1 && *line == '!') {
            put_record(out, line[1]);
        } else if (len) {
            tsn_buf_append(out, line, len);
            tsn_buf_puts(out, "\r\n");
        }
    }
}

/* ---- what is called ------------------------------------------------------------------------ */

static bool see_entry(void *arg, int64_t cursor, const struct tsn_outbox_entry *entry)
{
    *(size_t *)arg += entry->len + strlen(entry->incident_id) + (size_t)(cursor & 1);
    return true;
}

static bool see_page(void *arg, const struct tsn_page *page)
{
    *(size_t *)arg += strlen(page->dedup_key) + strlen(page->title);
    return true;
}

static bool see_incident(void *arg, const struct tsn_respond_incident *in)
{
    *(size_t *)arg += strlen(in->pub.incident_id);
    return true;
}

static bool one_incident(void *arg, struct tsn_respond_incident *in)
{
    bool *given = arg;

    if (*given)
        return false;
    *given = true;
    memset(in, 0, sizeof *in);
    memcpy(in->pub.incident_id, ID, sizeof ID);
    in->pub.escalate_at_ms = TSN_TIME_NONE;
    return true;
}

static void as_owner(struct tsn_store *s)
{
    struct tsn_store_input input = { .kind = TSN_STORE_TICK };
    struct tsn_effects none = { NULL, 0, 0 };
    struct tsn_respond *core = tsn_respond_new(&policy, NULL);
    char note[TSN_STORE_NOTE_TEXT];
    size_t seen = 0;

    if (!tsn_store_takeover(s, NULL, core, NULL)) {
        struct tsn_respond_mark m = tsn_store_mark(s);

        TSN_ASSERT(m.generation > 0 && m.cursor >= tsn_store_trimmed(s) && tsn_store_trimmed(s) >= 0);
        (void)tsn_store_outbox(s, tsn_store_trimmed(s), 10, see_entry, &seen, NULL);
        (void)tsn_store_pages(s, 10, see_page, &seen, NULL, NULL);
        if (!tsn_store_note_get(s, "policy", note, NULL))
            TSN_ASSERT(strlen(note) < sizeof note);
        (void)tsn_store_note_set(s, "policy", "x", NULL);
        (void)tsn_store_apply(s, &input, &none, NULL);
        (void)tsn_store_trim(s, tsn_store_mark(s).cursor, NULL);
    }
    tsn_respond_free(&core);
}

static void as_reader(struct tsn_store *s)
{
    struct tsn_respond_mark mark;
    struct tsn_respond_incident in;
    struct tsn_respond_answer answer;
    int64_t clock = 0;
    size_t seen = 0;

    if (!tsn_store_clock(s, &clock, NULL))
        TSN_ASSERT(clock >= 0 && clock <= INT64_C(253402300799999));
    (void)tsn_store_look(s, &mark, NULL);
    (void)tsn_store_list(s, see_incident, &seen, NULL);
    if (!tsn_store_incident(s, ID, &in, NULL)) {
        TSN_ASSERT(strcmp(in.pub.incident_id, ID) == 0);
        tsn_respond_incident_release(&in);
    }
    if (!tsn_store_answer(s, "c", &answer, NULL))
        tsn_respond_answer_release(&answer);
}

static void set_up(void)
{
    tsn_log_level_set(TSN_LOG_ERROR);
    tsn_policy_init_default(&policy);
    tsn_config_init(&config);
    config.redis.command_timeout_ms = 1000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_buf bytes = TSN_BUF_INIT;
    bool given = false;
    struct tsn_store *s;
    int ends[2];

    if (!size)
        return 0;
    if (!config.redis.url)
        set_up();
    if (data[0] & 0x80)
        tsn_buf_append(&bytes, (const char *)data + 1, size - 1);
    else
        put_replies(&bytes, (const char *)data + 1, size - 1);
    TSN_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    (void)send(ends[1], tsn_buf_str(&bytes), bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL); /* more than a socket holds is cut off */
    shutdown(ends[1], SHUT_WR);
    s = tsn_store_new(&config, NULL);
    s->redis = redisConnectFd(ends[0]);
    switch (data[0] % 4) {
    case 0: as_reader(s); break;
    case 1: (void)tsn_store_rebuild(s, NULL, one_incident, &given, NULL); break;
    default: as_owner(s); break;
    }
    tsn_store_free(&s);
    close(ends[1]);
    tsn_buf_release(&bytes);
    return 0;
}
