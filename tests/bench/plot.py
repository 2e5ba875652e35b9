"""Bars and curves as SVG, of plain text: a figure of a bench is read in a browser and compared in a diff."""
import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 80, 150, 40, 60
COLORS = ["#1f6f8b", "#c44536", "#5b8c3e", "#8a5a9e", "#b8860b"]


def _text(x, y, text, anchor="middle", size=12, more=""):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" font-family="sans-serif" %s>%s</text>' % (x, y, size, anchor, more, html.escape(str(text)))


def _short(value):
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return "%.3g%s" % (value / limit, letter)
    return "%.3g" % value


def _ticks(most):
    """Round numbers from 0 to at least `most`."""
    step = 10 ** math.floor(math.log10(most / 4)) if most > 0 else 1
    for times in (1, 2, 5, 10):
        if most / (step * times) <= 5:
            step *= times
            break
    return [i * step for i in range(int(math.ceil(most / step)) + 1)]


def _write(path, title, parts):
    with open(path, "w") as out:
        out.write('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d">\n<rect width="100%%" height="100%%" fill="white"/>\n' % (WIDTH, HEIGHT))
        out.write(_text(WIDTH / 2, 22, title, size=15) + "\n" + "\n".join(parts) + "\n</svg>\n")


def _axis(parts, most, unit):
    ticks = _ticks(most)
    high = ticks[-1] or 1
    for t in ticks:
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * t / high
        parts.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(LEFT - 6, y + 4, _short(t), "end", 11))
    parts.append(_text(16, HEIGHT / 2, unit, more='transform="rotate(-90 16 %d)"' % (HEIGHT / 2)))
    return high


def bars(path, title, rows, unit):
    """rows: (name, value, reference value; 0: none)."""
    parts = []
    high = _axis(parts, max([max(r[1], r[2]) for r in rows] or [1]), unit)
    slot = (WIDTH - LEFT - RIGHT) / max(len(rows), 1)
    for i, (name, value, reference) in enumerate(rows):
        x = LEFT + i * slot
        for k, (v, color) in enumerate(((value, COLORS[0]), (reference, "#aaaaaa"))):
            h = (HEIGHT - TOP - BOTTOM) * v / high
            if v:
                parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (
                    x + slot * (0.1 + 0.4 * k), HEIGHT - BOTTOM - h, slot * 0.4, h, color))
        parts.append(_text(x + slot * 0.3, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / high - 4, _short(value), size=11))
        parts.append(_text(x + slot / 2, HEIGHT - BOTTOM + 16, name, size=10))
    _write(path, title, parts)


def curves(path, title, x_unit, unit, lines):
    """lines: {name: [(x, y), …]}; x on a logarithmic scale."""
    parts = []
    points = [p for line in lines.values() for p in line]
    if not points:
        return
    high = _axis(parts, max(p[1] for p in points), unit)
    low_x, high_x = (f(math.log10(p[0]) for p in points) for f in (min, max))

    def place(p):
        return (LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(p[0]) - low_x) / ((high_x - low_x) or 1), HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * p[1] / high)

    for x in sorted({p[0] for p in points}):
        parts.append(_text(place((x, 0))[0], HEIGHT - BOTTOM + 16, _short(x), size=11))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_unit))
    for i, (name, line) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        parts.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (color, " ".join("%.1f,%.1f" % place(p) for p in line)))
        parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*place(p), color) for p in line]
        parts.append(_text(WIDTH - RIGHT + 10, TOP + 16 + 18 * i, name, "start", 12, 'fill="%s"' % color))
    _write(path, title, parts)
