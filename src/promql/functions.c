/*
 * functions: the rows of functions.h as data, and their lookup by name.
 *
 * The table is compiled in and small (under a hundred rows), so a lookup is a scan: it runs once
 * per call while parsing, never while evaluating.
 */
#include "promql/functions.h"

#define TYPE_OF(letter)                  \
    ((letter) == 'V'   ? TSN_TYPE_VECTOR \
     : (letter) == 'M' ? TSN_TYPE_MATRIX \
     : (letter) == 'S' ? TSN_TYPE_SCALAR \
     : (letter) == 'T' ? TSN_TYPE_STRING \
                       : TSN_TYPE_NONE)
/* The i-th letter, or the string's own NUL past its end. */
#define LETTER(types, i) ((types)[(i) < sizeof(types) ? (i) : 0])

static const struct tsn_function functions[TSN_FN_COUNT] = {
#define FUNCTION(fn, text, ret, var, exp, types)                                                  \
    { .name = text,                                                                               \
      .id = TSN_FN_##fn,                                                                          \
      .result = TSN_TYPE_##ret,                                                                   \
      .args = { TYPE_OF(LETTER(types, 0)), TYPE_OF(LETTER(types, 1)), TYPE_OF(LETTER(types, 2)),  \
                TYPE_OF(LETTER(types, 3)), TYPE_OF(LETTER(types, 4)) },                           \
      .arg_count = sizeof(types) - 1,                                                             \
      .variadic = var,                                                                            \
      .experimental = exp },
    TSN_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

const struct tsn_function *tsn_function_find(const char *name, size_t len)
{
    for (size_t i = 0; i < TSN_FN_COUNT; i++)
        if (strncmp(functions[i].name, name, len) == 0 && functions[i].name[len] == '\0')
            return &functions[i];
    return NULL;
}

const struct tsn_function *tsn_function_by_id(enum tsn_function_id id)
{
    TSN_ASSERT(id < TSN_FN_COUNT);
    return &functions[id];
}

const char *tsn_function_name(const struct tsn_function *f)
{
    return f->name;
}

enum tsn_value_type tsn_function_arg_type(const struct tsn_function *f, uint32_t index)
{
    TSN_ASSERT(f->arg_count);
    return f->args[index < f->arg_count ? index : f->arg_count - 1];
}

const char *tsn_value_type_text(enum tsn_value_type type)
{
    switch (type) {
    case TSN_TYPE_SCALAR: return "scalar";
    case TSN_TYPE_VECTOR: return "instant vector";
    case TSN_TYPE_MATRIX: return "range vector";
    case TSN_TYPE_STRING: return "string";
    case TSN_TYPE_NONE: break;
    }
    return "none";
}
