"""Sites of regions on wafers: whether they share a PE, and whether they are on the wafer."""


def overlap(one, other):
    """Tell whether a PE belongs to both."""
    return (
        one.wafer == other.wafer
        and one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def has_overlap(sites):
    """Tell whether any two sites share a PE: neighbours in x order of a sweep are compared."""
    active = []
    for site in sorted(sites, key=lambda site: (site.wafer, site.x)):
        active = [
            other
            for other in active
            if other.wafer == site.wafer and other.x + other.width > site.x
        ]
        if any(overlap(site, other) for other in active):
            return True
        active.append(site)
    return False


def is_inside(site, wafer):
    """Tell whether all PEs are those of a wafer."""
    width, height = wafer
    return (
        0 <= site.x <= site.x + site.width <= width
        and 0 <= site.y <= site.y + site.height <= height
    )
