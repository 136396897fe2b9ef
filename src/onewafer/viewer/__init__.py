"""Pictures and listings: costs of programs, routes of colors, maps of recorded runs."""

from onewafer.viewer.costs import Cost, instruction_costs, total
from onewafer.viewer.program_listing import (
    ListedInstruction,
    ListedLine,
    ProgramListing,
    format_listing,
    list_program,
    listing_record,
)
from onewafer.viewer.route_picture import badges_of, describe_map, draw_routes
from onewafer.viewer.routes import (
    ColorMap,
    RouterCell,
    Stretch,
    configured_colors,
    map_color,
)

__all__ = [
    "ColorMap",
    "Cost",
    "ListedInstruction",
    "ListedLine",
    "ProgramListing",
    "RouterCell",
    "Stretch",
    "badges_of",
    "configured_colors",
    "describe_map",
    "draw_routes",
    "format_listing",
    "instruction_costs",
    "list_program",
    "listing_record",
    "map_color",
    "total",
]
