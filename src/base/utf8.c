/* utf8: strict decoding (no overlong forms, no surrogates, up to U+10FFFF). See tocsin/base.h. */
#include "tocsin/base.h"

#include <string.h>

size_t tsn_utf8_decode(const char *text, size_t len, uint32_t *code_point)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first;
    uint32_t value;
    size_t width;

    if (!len)
        return 0;
    first = (unsigned char)text[0];
    if (first < 0x80) {
        *code_point = first;
        return 1;
    }
    width = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
    if (!width || first > 0xf4 || width > len)
        return 0;
    value = first & (0x7fu >> width);
    for (size_t i = 1; i < width; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (c & 0x3f);
    }
    if (value < least[width] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    *code_point = value;
    return width;
}

size_t tsn_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* ASCII is passed over eight bytes at a time: it is most of what we see. */
size_t tsn_utf8_valid_prefix(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint64_t eight;
        uint32_t code_point;
        size_t width;

        if (len - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                at += sizeof eight;
                continue;
            }
        }
        width = tsn_utf8_decode(text + at, len - at, &code_point);
        if (!width)
            break;
        at += width;
    }
    return at;
}

bool tsn_utf8_valid(const char *text, size_t len)
{
    return tsn_utf8_valid_prefix(text, len) == len;
}
