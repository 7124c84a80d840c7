"""Give each cluster a colour that is similar to those of its neighbours on the map."""

import numpy as np
from numpy.typing import NDArray

from tasks.report.projection import Points

LIGHTNESS = 0.68  # readable on white and on black
CHROMA = 0.145  # close to the highest that sRGB allows for every hue at this lightness

_LMS = np.array(  # OKLab to cube roots of cone responses (Ottosson 2020)
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
_RGB = np.array(  # cone responses to linear sRGB
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def colours(points: Points, clusters: NDArray[np.int32]) -> dict[int, str]:
    """Return the colour of each cluster as ``#rrggbb``; its hue follows its direction on the map.

    Args:
        points: float64, shape (n, 2), each axis within 0 to 1.
        clusters: int32, shape (n,), the cluster of each point.
    """
    by_cluster: dict[int, str] = {}
    for cluster in np.unique(clusters).tolist():
        x, y = np.median(points[clusters == cluster], axis=0) - 0.5
        by_cluster[cluster] = _hex(np.arctan2(y, x))
    return by_cluster


def _hex(hue: float) -> str:
    lab = np.array([LIGHTNESS, CHROMA * np.cos(hue), CHROMA * np.sin(hue)])
    linear = np.clip(_RGB @ (_LMS @ lab) ** 3, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * float(channel)):02x}" for channel in encoded)
