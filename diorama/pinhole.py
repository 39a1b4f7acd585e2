"""A pinhole camera's view of points and ellipses: fractions of the picture, u to the right and v down.

The camera looks along +z, pitched down. Plain Python; knows no things.
"""

from math import cos, sin, sqrt

from diorama.scene import Camera

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in fractions of the picture."""

Vector = tuple[float, float, float]


def view(camera: Camera, x: float, y: float, z: float) -> Vector:
    """Camera coordinates (right, up, depth along the optical axis) of a point in the world."""
    up, ahead = y - camera.height, z + camera.distance
    c, s = cos(camera.pitch), sin(camera.pitch)
    return x - camera.x, up * c + ahead * s, ahead * c - up * s


def point(camera: Camera, x: float, y: float, z: float) -> Box:
    """The box without size of a point in the world."""
    right, up, depth = view(camera, x, y, z)
    u, v = 0.5 + camera.focal * right / depth, 0.5 - camera.focal * up / depth
    return u, v, u, v


def conic(camera: Camera, centre: Vector, axes: tuple[Vector, ...], pad: float = 0.0) -> Box:
    """Box of an ellipsoid (three half axes) or ellipse (two) in camera coordinates, by its dual conic."""
    x, y, z = centre
    xx = x * x - sum(a[0] * a[0] for a in axes)
    yy = y * y - sum(a[1] * a[1] for a in axes)
    zz = z * z - sum(a[2] * a[2] for a in axes)
    xz = x * z - sum(a[0] * a[2] for a in axes)
    yz = y * z - sum(a[1] * a[2] for a in axes)
    f, pad = camera.focal, camera.focal * pad / z
    half_x, half_y = sqrt(max(xz * xz - xx * zz, 0.0)) / zz, sqrt(max(yz * yz - yy * zz, 0.0)) / zz
    mid_x, mid_y = 0.5 + f * xz / zz, 0.5 - f * yz / zz
    half_x, half_y = f * half_x + pad, f * half_y + pad
    return mid_x - half_x, mid_y - half_y, mid_x + half_x, mid_y + half_y


def direction(camera: Camera, x: float, y: float, z: float) -> Vector:
    """A vector of the world in camera coordinates."""
    c, s = cos(camera.pitch), sin(camera.pitch)
    return x, y * c + z * s, z * c - y * s
