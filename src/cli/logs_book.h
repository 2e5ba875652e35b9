/*
 * logs_book: which template each line got, at 4 bytes a line, and what became of the templates.
 *
 * An entry is a template as first met; merges link entries, so a line's number never needs rewriting. Beyond 16 MiB
 * of numbers (4 million lines) the rest goes to an unlinked temporary file in $TMPDIR or /tmp. Of more than TSN_BOOK_ENTRIES templates
 * (a hostile input, whose miner forgets most of them) those that come later share one entry, without a text.
 */
#ifndef TOCSIN_CLI_LOGS_BOOK_H
#define TOCSIN_CLI_LOGS_BOOK_H

#include "tocsin/patterns.h"

#include <stdio.h>

#define TSN_BOOK_MEMORY (16u << 20)
#define TSN_BOOK_BARS 24
#define TSN_BOOK_ENTRIES 100000

struct tsn_book_entry {
    uint64_t id;
    uint64_t count[2]; /* by side: `diff` has two */
    uint64_t first_line;
    uint32_t *bars; /* owned, TSN_BOOK_BARS; NULL: one line at most so far, the first, where most of a hostile input's stay */
    uint32_t parent;
};

struct tsn_book {
    struct tsn_miner *miner;
    TSN_VEC(struct tsn_book_entry) entries;
    uint32_t *lines;
    size_t held; /* numbers in memory, not yet spooled */
    bool keep_lines;
    FILE *spool;
    uint64_t line_count, side_lines[2];
    unsigned bar_shift; /* a bar stands for 2^this lines; doubles as the input grows */
    unsigned side;
    bool scoped; /* templates are of services and levels */
};

void tsn_book_init(struct tsn_book *book, bool keep_lines);
void tsn_book_release(struct tsn_book *book);
/* The next line got this entry. TSN_ERR_IO if the spool cannot be written. */
enum tsn_err tsn_book_line(struct tsn_book *book, uint32_t tag, struct tsn_error *error);
/* The next line continues the event of the last: a row, no count. */
enum tsn_err tsn_book_more(struct tsn_book *book, uint32_t tag, struct tsn_error *error);
/* As many lines of one side of `diff`, without their order. */
void tsn_book_count(struct tsn_book *book, uint32_t tag, unsigned side, uint64_t count);
/* The entry of a miner result (made if new), with merges of the miner taken over. */
uint32_t tsn_book_entry(struct tsn_book *book, struct tsn_miner_result result);
/* The bars of an entry, made if need be; borrowed. */
uint32_t *tsn_book_bars(const struct tsn_book *book, struct tsn_book_entry *entry);
uint32_t tsn_book_find(struct tsn_book *book, uint32_t entry);
/* Adds merged entries up: afterwards counts and bars of roots are whole. Once, at the end. */
void tsn_book_settle(struct tsn_book *book);
/* Rows line_no, id, template. */
enum tsn_err tsn_book_write_rows(struct tsn_book *book, FILE *out, struct tsn_error *error);
/* texts[entry] of every root, "<*>" where the template was evicted; texts borrowed from the miner, the caller frees
 * the array. */
const char **tsn_book_texts(struct tsn_book *book);

struct tsn_logs_input;
/* Reads the whole input into the book (or, following, prints it). In cmd_logs.c. */
enum tsn_err tsn_logs_mine_all(struct tsn_logs_input *in, struct tsn_book *book, struct tsn_error *error);

#endif
