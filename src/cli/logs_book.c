/* logs_book: see logs_book.h. */
#include "cli/logs_book.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBERS_MAX (TSN_BOOK_MEMORY / sizeof(uint32_t))

void tsn_book_init(struct tsn_book *book, bool keep_lines)
{
    /* less than a shard has: for one log it is plenty, and the worst one then costs no more than 64 MiB or so */
    static const struct tsn_miner_limits limits = { .max_slots = 100000, .max_text_bytes = 8 << 20 };

    memset(book, 0, sizeof *book);
    book->miner = tsn_miner_new(&limits);
    book->keep_lines = keep_lines;
    if (keep_lines)
        book->lines = tsn_alloc(TSN_BOOK_MEMORY); /* touched only as far as lines come */
}

void tsn_book_release(struct tsn_book *book)
{
    tsn_miner_free(&book->miner);
    for (size_t i = 0; i < book->entries.len; i++)
        tsn_free(book->entries.items[i].bars);
    tsn_vec_release(&book->entries);
    tsn_free(book->lines);
    if (book->spool)
        fclose(book->spool);
    memset(book, 0, sizeof *book);
}

uint32_t tsn_book_find(struct tsn_book *book, uint32_t entry)
{
    struct tsn_book_entry *e = book->entries.items;

    while (e[entry].parent != entry) {
        e[entry].parent = e[e[entry].parent].parent;
        entry = e[entry].parent;
    }
    return entry;
}

static uint32_t add_entry(struct tsn_book *book, uint64_t id)
{
    struct tsn_book_entry entry = { .id = id, .first_line = book->line_count + 1,
                                    .parent = (uint32_t)book->entries.len };

    tsn_vec_push(&book->entries, entry);
    return entry.parent;
}

/* The last one: of all that were met when there was no room for more. */
static uint32_t shared_entry(struct tsn_book *book)
{
    if (book->entries.len == TSN_BOOK_ENTRIES)
        add_entry(book, 0);
    return TSN_BOOK_ENTRIES;
}

static void link_entries(struct tsn_book *book, uint32_t from, uint32_t into)
{
    from = tsn_book_find(book, from);
    into = tsn_book_find(book, into);
    if (from != into && from != TSN_BOOK_ENTRIES && into != TSN_BOOK_ENTRIES)
        book->entries.items[from].parent = into;
}

uint32_t tsn_book_entry(struct tsn_book *book, struct tsn_miner_result result)
{
    uint32_t *tag = tsn_miner_tag(book->miner, result.ref);
    const struct tsn_miner_merge *merge;
    size_t merges;

    if (*tag == TSN_MINER_NONE && book->entries.len < TSN_BOOK_ENTRIES)
        *tag = add_entry(book, result.id);
    else if (*tag == TSN_MINER_NONE)
        *tag = shared_entry(book);
    if (result.merges == 0)
        return *tag;
    /* A template of this very call may have merged before it had an entry: nothing refers to it, nothing to link. */
    merge = tsn_miner_merged(book->miner, &merges);
    for (size_t i = 0; i < merges; i++)
        if (merge[i].from_tag != TSN_MINER_NONE)
            link_entries(book, merge[i].from_tag, merge[i].into_tag != TSN_MINER_NONE ? merge[i].into_tag : *tag);
    tsn_miner_merged_clear(book->miner);
    return *tag;
}

static enum tsn_err spool_out(struct tsn_book *book, struct tsn_error *error)
{
    const char *dir = getenv("TMPDIR");
    char path[512];
    int fd;

    if (!book->spool) {
        snprintf(path, sizeof path, "%s/tocsin-logs-XXXXXX", dir && *dir ? dir : "/tmp");
        fd = mkstemp(path);
        if (fd >= 0)
            unlink(path);
        book->spool = fd >= 0 ? fdopen(fd, "w+b") : NULL;
        if (!book->spool)
            return tsn_error_set(error, TSN_ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (fwrite(book->lines, sizeof *book->lines, book->held, book->spool) != book->held)
        return tsn_error_set(error, TSN_ERR_IO, "spool of line numbers: %s", strerror(errno));
    book->held = 0;
    return TSN_OK;
}

/* Bars stand for twice the lines each when the input outgrows them. */
static void double_bars(struct tsn_book *book)
{
    book->bar_shift++;
    for (size_t i = 0; i < book->entries.len; i++) {
        uint32_t *bars = book->entries.items[i].bars;

        if (!bars)
            continue;
        for (unsigned b = 0; b < TSN_BOOK_BARS / 2; b++)
            bars[b] = bars[2 * b] + bars[2 * b + 1];
        memset(bars + TSN_BOOK_BARS / 2, 0, sizeof *bars * (TSN_BOOK_BARS / 2));
    }
}

uint32_t *tsn_book_bars(const struct tsn_book *book, struct tsn_book_entry *e)
{
    if (!e->bars) {
        e->bars = tsn_calloc(TSN_BOOK_BARS, sizeof *e->bars);
        e->bars[(e->first_line - 1) >> book->bar_shift] += e->count[0] + e->count[1] > 0;
    }
    return e->bars;
}

static enum tsn_err next_row(struct tsn_book *book, uint32_t tag, struct tsn_error *error)
{
    book->line_count++;
    if (!book->keep_lines)
        return TSN_OK;
    book->lines[book->held++] = tag;
    return book->held == NUMBERS_MAX ? spool_out(book, error) : TSN_OK;
}

enum tsn_err tsn_book_line(struct tsn_book *book, uint32_t tag, struct tsn_error *error)
{
    struct tsn_book_entry *entry = &book->entries.items[tag];

    if (book->line_count >= (uint64_t)TSN_BOOK_BARS << book->bar_shift)
        double_bars(book);
    if (entry->count[0] + entry->count[1] > 0 || entry->first_line != book->line_count + 1)
        tsn_book_bars(book, entry)[book->line_count >> book->bar_shift]++;
    entry->count[book->side]++;
    book->side_lines[book->side]++;
    return next_row(book, tag, error);
}

enum tsn_err tsn_book_more(struct tsn_book *book, uint32_t tag, struct tsn_error *error)
{
    if (book->line_count >= (uint64_t)TSN_BOOK_BARS << book->bar_shift)
        double_bars(book);
    return next_row(book, tag, error);
}

void tsn_book_count(struct tsn_book *book, uint32_t tag, unsigned side, uint64_t count)
{
    book->entries.items[tag].count[side] += count;
    book->side_lines[side] += count;
}

void tsn_book_settle(struct tsn_book *book)
{
    for (uint32_t i = 0; i < book->entries.len; i++) {
        uint32_t root = tsn_book_find(book, i);
        struct tsn_book_entry *from = &book->entries.items[i], *to = &book->entries.items[root];

        if (root == i)
            continue;
        for (unsigned b = 0; b < TSN_BOOK_BARS; b++)
            tsn_book_bars(book, to)[b] += tsn_book_bars(book, from)[b];
        to->count[0] += from->count[0];
        to->count[1] += from->count[1];
        if (from->first_line < to->first_line)
            to->first_line = from->first_line;
        tsn_free(from->bars);
        from->bars = NULL;
    }
}

const char **tsn_book_texts(struct tsn_book *book)
{
    const char **texts = tsn_reallocarray(NULL, book->entries.len + 1, sizeof *texts);
    struct tsn_template t;
    uint32_t cursor = 0;

    for (size_t i = 0; i < book->entries.len; i++)
        texts[i] = "<*>";
    while (tsn_miner_next(book->miner, &cursor, &t)) {
        uint32_t tag = *tsn_miner_tag(book->miner, t.ref);

        if (tag != TSN_MINER_NONE && tag != TSN_BOOK_ENTRIES)
            texts[tsn_book_find(book, tag)] = t.text;
    }
    return texts;
}

/* ---- rows --------------------------------------------------------------------------------- */

/* Decimal counter: adding one to text is cheaper than formatting each number. */
struct counter {
    char digits[24];
    char *first;
};

static void count_up(struct counter *c)
{
    char *d = c->digits + sizeof c->digits - 1;

    while (d >= c->first && *d == '9')
        *d-- = '0';
    if (d < c->first) {
        *d = '1';
        c->first = d;
    } else {
        ++*d;
    }
}

struct rows {
    struct tsn_buf out;
    struct tsn_buf *tails; /* "\tid\ttemplate\n", made for roots as they come */
    const char **texts;
    struct counter number;
    FILE *file;
};

static bool write_some(struct rows *rows, size_t limit)
{
    bool ok = true;

    if (rows->out.len >= limit && rows->out.len) {
        ok = fwrite(rows->out.data, 1, rows->out.len, rows->file) == rows->out.len;
        tsn_buf_reset(&rows->out);
    }
    return ok;
}

static bool write_row(struct tsn_book *book, struct rows *rows, uint32_t entry)
{
    uint32_t root = tsn_book_find(book, entry);
    struct tsn_buf *tail = &rows->tails[root];

    if (!tail->len)
        tsn_buf_printf(tail, "\t%016llx\t%s\n", (unsigned long long)book->entries.items[root].id, rows->texts[root]);
    tsn_buf_append(&rows->out, rows->number.first,
                   (size_t)(rows->number.digits + sizeof rows->number.digits - rows->number.first));
    tsn_buf_append(&rows->out, tail->data, tail->len);
    count_up(&rows->number);
    return write_some(rows, 256u << 10);
}

enum tsn_err tsn_book_write_rows(struct tsn_book *book, FILE *out, struct tsn_error *error)
{
    struct rows rows = { .file = out, .texts = tsn_book_texts(book) };
    uint32_t entries[4096];
    bool ok = true, read_ok = true;
    size_t got;

    rows.tails = tsn_calloc(book->entries.len + 1, sizeof *rows.tails);
    rows.number.first = rows.number.digits + sizeof rows.number.digits - 1;
    *rows.number.first = '1';
    if (book->spool)
        rewind(book->spool);
    while (ok && book->spool && (got = fread(entries, sizeof *entries, TSN_ARRAY_LEN(entries), book->spool)) > 0)
        for (size_t i = 0; ok && i < got; i++)
            ok = write_row(book, &rows, entries[i]);
    read_ok = !book->spool || !ferror(book->spool);
    for (size_t i = 0; ok && i < book->held; i++)
        ok = write_row(book, &rows, book->lines[i]);
    ok = ok && write_some(&rows, 0) && fflush(out) == 0;
    for (size_t i = 0; i < book->entries.len; i++)
        tsn_buf_release(&rows.tails[i]);
    tsn_free(rows.tails);
    tsn_free(rows.texts);
    tsn_buf_release(&rows.out);
    if (!read_ok || !ok)
        return tsn_error_set(error, TSN_ERR_IO, "%s: %s", read_ok ? "output" : "spool", strerror(errno));
    return TSN_OK;
}
