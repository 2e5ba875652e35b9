/* re2_shim: see re2_shim.h. */
#include "base/re2_shim.h"

#include <re2/re2.h>

#include <cstdio>
#include <new>
#include <string>

struct tsn_re2 {
    RE2 re;
    tsn_re2(const re2::StringPiece &pattern, const RE2::Options &options) : re(pattern, options)
    {
    }
};

extern "C" struct tsn_re2 *tsn_re2_new(const char *pattern, size_t len, bool dot_nl, char *error,
                                       size_t error_len)
{
    RE2::Options options;

    options.set_log_errors(false);
    options.set_dot_nl(dot_nl);
    struct tsn_re2 *re = new tsn_re2(re2::StringPiece(pattern, len), options);
    if (re->re.ok())
        return re;
    std::snprintf(error, error_len, "%s", re->re.error().c_str());
    delete re;
    return nullptr;
}

extern "C" void tsn_re2_free(struct tsn_re2 *re)
{
    delete re;
}

extern "C" bool tsn_re2_full_match(const struct tsn_re2 *re, const char *text, size_t len)
{
    return RE2::FullMatchN(re2::StringPiece(text, len), re->re, nullptr, 0);
}

extern "C" bool tsn_re2_match(const struct tsn_re2 *re, const char *text, size_t len, size_t from,
                              bool anchored, long *groups, int group_cap)
{
    re2::StringPiece parts[32];

    if (group_cap > 32)
        group_cap = 32;
    if (!re->re.Match(re2::StringPiece(text, len), from, len, anchored ? RE2::ANCHOR_BOTH : RE2::UNANCHORED,
                      parts, group_cap))
        return false;
    for (int i = 0; i < group_cap; i++) {
        groups[2 * i] = parts[i].data() ? parts[i].data() - text : -1;
        groups[2 * i + 1] = parts[i].data() ? groups[2 * i] + (long)parts[i].size() : -1;
    }
    return true;
}

extern "C" int tsn_re2_group_count(const struct tsn_re2 *re)
{
    return re->re.NumberOfCapturingGroups() + 1;
}

extern "C" int tsn_re2_group_index(const struct tsn_re2 *re, const char *name, size_t len)
{
    const std::map<std::string, int> &names = re->re.NamedCapturingGroups();
    auto found = names.find(std::string(name, len));

    return found == names.end() ? -1 : found->second;
}
