"""Views of images on a CPU, compiled by numba: what `shown.in_matrices` says, image by image in one go.

A band of a few taps takes the place of a dense matrix. Every inner loop runs along memory, over all channels: the width
is resampled in a transposed copy (x, c, y), the height in (y, c, x).
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit
from numba.core.dispatcher import Dispatcher

FAST = {"contract", "reassoc", "nsz"}  # a sum may be taken in any order
SIGNATURE = (
    "void({pixels}[::1], int64[::1], int64[:, ::1], int64[:, ::1], float32[:, :, ::1], int64[:, ::1],"
    " float32[:, :, ::1], float32[:, ::1], float32[:, ::1], float32[:, :, ::1], boolean[::1], float32[::1],"
    " float32[::1], float32[::1], int64, int64, float32[:, :, :, ::1])"
)
UNSEEN = np.float32(1e-8)  # the greatest weight that is left out: values are in [0, 1], of 24 bits
BLOCK = 8  # columns that are transposed at a time

Values = Float[np.ndarray, " n"]
Rows = Float[np.ndarray, "m n"]
View = Float[np.ndarray, "s c s"]
Maps = Float[np.ndarray, "#b c 2*c"]


@no_type_check
@njit(fastmath=FAST)
def _composed(first: Int[np.ndarray, " s"], weights: Float[np.ndarray, "taps s"], smooth: Float[np.ndarray, " k"]):  # noqa: ANN202
    """The band after a blur of what it makes: first taps, numbers of taps, weights."""
    taps, size = weights.shape
    counts = np.empty(size, np.int64)
    for i in range(size):
        n = taps
        while n > 1 and weights[n - 1, i] <= UNSEEN:
            n -= 1
        counts[i] = n
    radius = reach = len(smooth) // 2
    while reach > 0 and smooth[radius - reach] <= UNSEEN:
        reach -= 1
    if reach == 0:
        return first, counts, weights
    starts, numbers, most, last = np.empty(size, np.int64), np.empty(size, np.int64), 0, size - 1
    for i in range(size):
        low, high = first[i], first[i] + counts[i]
        for j in range(max(i - reach, 0), min(i + reach, last) + 1):  # what is reflected is among them
            low, high = min(low, first[j]), max(high, first[j] + counts[j])
        starts[i], numbers[i], most = low, high - low, max(most, high - low)
    made = np.zeros((most, size), np.float32)
    for i in range(size):
        for k in range(-reach, reach + 1):
            j = last - abs(last - abs(i + k))  # reflected at the borders
            for t in range(counts[j]):
                made[first[j] - starts[i] + t, i] += smooth[radius + k] * weights[t, j]
    return starts, numbers, made


@no_type_check
@njit(fastmath=FAST)
def _sum(rows: Rows, first: int, count: int, weights: Rows, i: int, out: Rows, to: int) -> None:
    """Row `to` of `out`: `count` rows from `first` on, as the weights of `i` say."""
    length = rows.shape[1]
    v = weights[0, i]
    if count == 1:
        for x in range(length):
            out[to, x] = v * rows[first, x]
        return
    w = weights[1, i]
    for x in range(length):
        out[to, x] = v * rows[first, x] + w * rows[first + 1, x]
    for k in range(2, count - 1, 2):
        v, w = weights[k, i], weights[k + 1, i]
        for x in range(length):
            out[to, x] += v * rows[first + k, x] + w * rows[first + k + 1, x]
    if count % 2:
        v = weights[count - 1, i]
        for x in range(length):
            out[to, x] += v * rows[first + count - 1, x]


@no_type_check
@njit(fastmath=FAST)
def _turned(view: View, cos: float, sin: float, out: View) -> None:
    """Turned about the centre: bilinear, black outside."""
    size, channels, _ = view.shape
    middle = np.float32(0.5) * np.float32(size - 1)
    out[:] = 0
    for y in range(size):
        for x in range(size):
            across = cos * (x - middle) - sin * (y - middle) + middle
            down = sin * (x - middle) + cos * (y - middle) + middle
            left, top = int(np.floor(across)), int(np.floor(down))
            for j in range(max(top, 0), min(top + 2, size)):
                for i in range(max(left, 0), min(left + 2, size)):
                    share = (1 - abs(down - j)) * (1 - abs(across - i))
                    for c in range(channels):
                        out[y, c, x] += share * view[j, c, i]


@no_type_check
@njit(fastmath=FAST)
def _offset(view: View, maps: Maps, i: int, offset: Values) -> None:
    """What the mean colour adds to each channel."""
    size, channels, _ = view.shape
    offset[:] = 0
    for c in range(channels):
        total = 0.0
        for y in range(size):
            row = np.float32(0)
            for x in range(size):
                row += view[y, c, x]
            total += row
        for d in range(channels):
            offset[d] += maps[i, d, channels + c] * np.float32(total / (size * size))


@no_type_check
@njit(fastmath=FAST)
def _finished(value: float, solarized: bool, mean: float, scale: float):  # noqa: ANN202
    value = min(max(value, np.float32(0)), np.float32(1))
    if solarized:
        value = min(value, np.float32(1) - value)  # inverted where it is at least a half
    return (value - mean) * scale


@no_type_check
def views(
    pixels: Values,
    places: Int[np.ndarray, " b"],
    sizes: Int[np.ndarray, "b 2"],
    row_first: Int[np.ndarray, "b s"],
    row_weights: Float[np.ndarray, "b taps s"],
    column_first: Int[np.ndarray, "b s"],
    column_weights: Float[np.ndarray, "b taps s"],
    smooth: Float[np.ndarray, "b k"],
    turns: Float[np.ndarray, "#b 2"],
    maps: Maps,
    solarized: Bool[np.ndarray, " b"],
    unit: Float[np.ndarray, "1"],
    mean: Float[np.ndarray, " c"],
    std: Float[np.ndarray, " c"],
    begin: int,
    end: int,
    out: Float[np.ndarray, "b c s s"],
) -> None:
    """Fills the views `begin` to `end` of `out`.

    `pixels` are all values, one image after the other: (c, h, w) of `sizes` from its place on, times `unit` in [0, 1].
    `turns`, cosine and sine, and `maps` are of length 0 where nothing turns or has colours.
    """
    channels, size = out.shape[1], out.shape[2]
    tallest, widest = sizes[begin:end, 0].max(), sizes[begin:end, 1].max()
    column_space = np.empty(widest * channels * tallest, np.float32)
    block_space = np.empty(BLOCK * channels * tallest, np.float32)
    row_space = np.empty(tallest * channels * size, np.float32)
    view, turned = np.empty((size, channels, size), np.float32), np.empty((size, channels, size), np.float32)
    offset, share = np.zeros(channels, np.float32), unit[0]
    for i in range(begin, end):
        height, width, inverted = sizes[i, 0], sizes[i, 1], solarized[i]
        down, down_count, down_weights = _composed(row_first[i], row_weights[i], smooth[i])
        across, across_count, across_weights = _composed(column_first[i], column_weights[i], smooth[i])
        top, bottom, left, right = height, 0, width, 0
        for j in range(size):
            top, bottom = min(top, down[j]), max(bottom, down[j] + down_count[j])
            left, right = min(left, across[j]), max(right, across[j] + across_count[j])
        h, w = bottom - top, right - left
        image = pixels[places[i] : places[i] + channels * height * width].reshape(channels, height, width)
        columns = column_space[: w * channels * h].reshape(w, channels, h)
        block = block_space[: BLOCK * channels * h].reshape(BLOCK, channels, h)
        rows = row_space[: h * channels * size].reshape(h, channels, size)
        for c in range(channels):
            crop = image[c, top:bottom, left:right]
            for x in range(w):
                for y in range(h):
                    columns[x, c, y] = crop[y, x]
        flat_columns, flat_block = columns.reshape(w, channels * h), block.reshape(BLOCK, channels * h)
        for start in range(0, size, BLOCK):
            many = min(BLOCK, size - start)
            for j in range(many):
                x = start + j
                _sum(flat_columns, across[x] - left, across_count[x], across_weights, x, flat_block, j)
            part = rows[:, :, start : start + many]
            for y in range(h):
                for c in range(channels):
                    for j in range(many):
                        part[y, c, j] = share * block[j, c, y]
        flat_rows, flat_view = rows.reshape(h, channels * size), view.reshape(size, channels * size)
        for y in range(size):
            _sum(flat_rows, down[y] - top, down_count[y], down_weights, y, flat_view, y)
        shown = view
        if len(turns):
            _turned(view, turns[i, 0], turns[i, 1], turned)
            shown = turned
        if len(maps):
            _offset(shown, maps, i, offset)
        for y in range(size):
            for c in range(channels):
                scale, by, to = np.float32(1) / std[c], offset[c], mean[c]
                if len(maps) and channels == 3:
                    r, g, b = maps[i, c, 0], maps[i, c, 1], maps[i, c, 2]
                    for x in range(size):
                        value = r * shown[y, 0, x] + g * shown[y, 1, x] + b * shown[y, 2, x] + by
                        out[i, c, y, x] = _finished(value, inverted, to, scale)
                else:
                    light = maps[i, c, c] if len(maps) else np.float32(1)
                    for x in range(size):
                        out[i, c, y, x] = _finished(light * shown[y, c, x] + by, inverted, to, scale)


def compiled(kept: bool) -> Dispatcher:
    """`views` in machine code, which threads can run side by side; `kept` on disk for the next command."""
    return njit(cache=kept, nogil=True, fastmath=FAST)(views)
