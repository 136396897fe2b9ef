"""What people look at: listings, pictures of routes."""

from onewafer.viewer.costs import Cost, instruction_costs, total
from onewafer.viewer.program_listing import (
    FindSource,
    ListedInstruction,
    ListedLine,
    ProgramListing,
    format_listing,
    list_program,
    listing_record,
)

__all__ = [
    "Cost",
    "FindSource",
    "ListedInstruction",
    "ListedLine",
    "ProgramListing",
    "format_listing",
    "instruction_costs",
    "list_program",
    "listing_record",
    "total",
]
