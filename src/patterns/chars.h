/* chars: the one table that says what a byte is in a log line. Shared by scanner, miner, header. */
#ifndef TOCSIN_PATTERNS_CHARS_H
#define TOCSIN_PATTERNS_CHARS_H

#include <stdint.h>

enum {
    TSN_C_ALPHA = 1,  /* letters, and every byte ≥ 0x80: words of any language */
    TSN_C_DIGIT = 2,
    TSN_C_JOIN = 4,   /* punctuation that may stand inside a word: . _ - / @ $ # % * + ~ & \ */
    TSN_C_SPACE = 8,  /* blanks and control characters */
    TSN_C_NOTHEX = 16, /* a word character that no hexadecimal number has */
    TSN_C_UPPER = 32,
    TSN_C_DOT = 64,
    TSN_C_SLASH = 128, /* '/' and '\' */
    TSN_C_WORD = TSN_C_ALPHA | TSN_C_DIGIT | TSN_C_JOIN
};
extern const uint8_t tsn_chars[256];

#define TSN_VAR "<*>"
#define TSN_VAR_LEN 3

#endif
