/* alloc: malloc with one policy (no NULL), and a bump arena. See tocsin/base.h. */
#include "tocsin/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size)
{
    fprintf(stderr, "tocsin: out of memory: %zu bytes wanted\n", size);
    abort();
}

void *tsn_alloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);

    if (!ptr)
        out_of_memory(size);
    return ptr;
}

void *tsn_calloc(size_t count, size_t size)
{
    void *ptr = calloc(count ? count : 1, size ? size : 1);

    if (!ptr)
        out_of_memory(count * size);
    return ptr;
}

void *tsn_realloc(void *ptr, size_t size)
{
    void *grown = realloc(ptr, size ? size : 1);

    if (!grown)
        out_of_memory(size);
    return grown;
}

void *tsn_reallocarray(void *ptr, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory(SIZE_MAX);
    return tsn_realloc(ptr, bytes);
}

void tsn_free(void *ptr)
{
    free(ptr);
}

char *tsn_strdup(const char *text)
{
    return tsn_memdup(text, strlen(text) + 1);
}

char *tsn_strndup(const char *text, size_t len)
{
    char *copy = tsn_alloc(len + 1);

    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void *tsn_memdup(const void *data, size_t len)
{
    void *copy = tsn_alloc(len);

    if (len)
        memcpy(copy, data, len);
    return copy;
}

void *tsn_vec_grow(void *items, size_t *cap, size_t want, size_t item_size)
{
    size_t grown = *cap ? *cap + *cap / 2 : 8;

    if (grown < want)
        grown = want;
    items = tsn_reallocarray(items, grown, item_size);
    *cap = grown;
    return items;
}

/* ---- arena -------------------------------------------------------------------------------- */

struct tsn_arena_block {
    struct tsn_arena_block *older;
    size_t size;
    _Alignas(16) char data[];
};

void tsn_arena_init(struct tsn_arena *arena, size_t block_bytes)
{
    memset(arena, 0, sizeof *arena);
    arena->block_bytes = block_bytes ? block_bytes : 64 * 1024;
}

static void free_blocks(struct tsn_arena_block *block)
{
    while (block) {
        struct tsn_arena_block *older = block->older;

        tsn_free(block);
        block = older;
    }
}

void tsn_arena_release(struct tsn_arena *arena)
{
    free_blocks(arena->blocks);
    tsn_arena_init(arena, arena->block_bytes);
}

void tsn_arena_reset(struct tsn_arena *arena)
{
    struct tsn_arena_block *keep = arena->blocks;

    arena->used_bytes = 0;
    if (!keep)
        return;
    free_blocks(keep->older);
    keep->older = NULL;
    if (keep->size > 4 * arena->block_bytes) { /* one huge request must not stay for ever */
        tsn_free(keep);
        arena->blocks = NULL;
        arena->next = arena->end = NULL;
        return;
    }
    arena->next = keep->data;
    arena->end = keep->data + keep->size;
}

void *tsn_arena_alloc(struct tsn_arena *arena, size_t size)
{
    size_t rounded = (size + 15) & ~(size_t)15;
    void *ptr;

    if (rounded < size)
        out_of_memory(size);
    if ((size_t)(arena->end - arena->next) < rounded || !arena->next) {
        size_t block_size = rounded > arena->block_bytes ? rounded : arena->block_bytes;
        struct tsn_arena_block *block = tsn_alloc(sizeof *block + block_size);

        block->size = block_size;
        block->older = arena->blocks;
        arena->blocks = block;
        arena->next = block->data;
        arena->end = block->data + block_size;
    }
    ptr = arena->next;
    arena->next += rounded;
    arena->used_bytes += rounded;
    return ptr;
}

void *tsn_arena_calloc(struct tsn_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    void *ptr;

    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory(SIZE_MAX);
    ptr = tsn_arena_alloc(arena, bytes);
    memset(ptr, 0, bytes);
    return ptr;
}

char *tsn_arena_strndup(struct tsn_arena *arena, const char *text, size_t len)
{
    char *copy = tsn_arena_alloc(arena, len + 1);

    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *tsn_arena_strdup(struct tsn_arena *arena, const char *text)
{
    return tsn_arena_strndup(arena, text, strlen(text));
}

char *tsn_arena_printf(struct tsn_arena *arena, const char *fmt, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    TSN_ASSERT(len >= 0);
    text = tsn_arena_alloc(arena, (size_t)len + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}
