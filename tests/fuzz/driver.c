/*
 * driver: replays a corpus through a fuzz target when libFuzzer is not linked in.
 *
 * Usage: fuzz_x [FILE|DIRECTORY…] [--mutate N --seed S]. Every file is run once; with --mutate, N
 * seeded mutations of each are run too, so that the normal test run explores a little without clang.
 */
#include "tocsin/base.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t rng_state;
static size_t runs;

static uint64_t rng(void)
{
    rng_state += UINT64_C(0x9e3779b97f4a7c15);
    return tsn_hash64(&rng_state, sizeof rng_state);
}

static void run_exact(const char *data, size_t len)
{
    /* An exact-size copy, so that ASan sees a read one byte beyond. */
    uint8_t *copy = tsn_memdup(data, len);

    LLVMFuzzerTestOneInput(copy, len);
    tsn_free(copy);
    runs++;
}

static void mutate_once(struct tsn_buf *buf)
{
    size_t at = buf->len ? rng() % buf->len : 0;

    switch (rng() % 5) {
    case 0: /* flip a bit */
        if (buf->len)
            buf->data[at] = (char)(buf->data[at] ^ 1 << rng() % 8);
        break;
    case 1: /* random byte */
        if (buf->len)
            buf->data[at] = (char)rng();
        break;
    case 2: /* cut the tail */
        buf->len = at;
        break;
    case 3: { /* double a piece */
        size_t piece = buf->len ? rng() % (buf->len - at) % 64 : 0;
        char copy[64];

        memcpy(copy, tsn_buf_str(buf) + at, piece);
        tsn_buf_append(buf, copy, piece);
        break;
    }
    default: { /* drop a piece */
        size_t piece = buf->len ? rng() % (buf->len - at) % 16 : 0;

        if (piece)
            memmove(buf->data + at, buf->data + at + piece, buf->len - at - piece);
        buf->len -= piece;
        break;
    }
    }
}

static void run_file(const char *path, uint64_t mutations)
{
    struct tsn_buf buf = TSN_BUF_INIT;
    FILE *in = fopen(path, "rb");
    size_t got;

    if (!in) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    do {
        got = fread(tsn_buf_reserve(&buf, 65536), 1, 65536, in);
        buf.len += got;
    } while (got);
    fclose(in);
    run_exact(tsn_buf_str(&buf), buf.len);
    for (uint64_t i = 0; i < mutations; i++) {
        struct tsn_buf copy = TSN_BUF_INIT;
        uint64_t edits = 1 + rng() % 4;

        tsn_buf_append(&copy, tsn_buf_str(&buf), buf.len);
        while (edits--)
            mutate_once(&copy);
        run_exact(tsn_buf_str(&copy), copy.len);
        tsn_buf_release(&copy);
    }
    tsn_buf_release(&buf);
}

static void run_path(const char *path, uint64_t mutations)
{
    struct dirent **names;
    struct stat st;
    int count;

    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        run_file(path, mutations);
        return;
    }
    count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        struct tsn_buf full = TSN_BUF_INIT;

        tsn_buf_printf(&full, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            run_path(full.data, mutations);
        tsn_buf_release(&full);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

int main(int argc, char **argv)
{
    int64_t mutations = 0, seed = 1;

    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--mutate") == 0)
            (void)tsn_parse_i64(argv[i + 1], strlen(argv[i + 1]), &mutations);
        if (strcmp(argv[i], "--seed") == 0)
            (void)tsn_parse_i64(argv[i + 1], strlen(argv[i + 1]), &seed);
    }
    rng_state = (uint64_t)seed;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            i++;
        else
            run_path(argv[i], (uint64_t)mutations);
    }
    if (!runs) {
        fprintf(stderr, "no input was run\n");
        return 1;
    }
    printf("%zu inputs\n", runs);
    return 0;
}
