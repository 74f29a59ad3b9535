"""Regions by the names people and clouds give them, and the areas they lie in.

A place is in a region when it is called so, or lies in the area of that name: Amazon's `eu-central-1` is in `eu`. A
cloud's name does not say which law holds: `eu-west-2` and `europe-west2` are London, `eu-central-2` and `europe-west6`
are Zurich. So membership is a list, not a prefix, and a region that is on no list is only in itself. What a name
promises about where a request is worked on is the provider's word; a deployment that may be served from anywhere
(`global`) is in no area.

Sources: the lists of regions of AWS, Google Cloud and Microsoft Azure.
"""

import re

AREAS: dict[str, frozenset[str]] = {
    "eu": frozenset({
        "eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3",
        "europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west3",
        "europe-west4", "europe-west8", "europe-west9", "europe-west10", "europe-west12",
        "francecentral", "francesouth", "germanynorth", "germanywestcentral", "italynorth", "northeurope",
        "polandcentral", "spaincentral", "swedencentral", "swedensouth", "westeurope",
    }),
    "us": frozenset({
        "us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1",
        "us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west2", "us-west3", "us-west4",
        "centralus", "eastus", "eastus2", "northcentralus", "southcentralus", "westcentralus", "westus", "westus2",
        "westus3",
    }),
    "uk": frozenset({"eu-west-2", "europe-west2", "uksouth", "ukwest"}),
    "ch": frozenset({"eu-central-2", "europe-west6", "switzerlandnorth", "switzerlandwest"}),
}  # fmt: skip
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_PROFILE = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|global)\.")
"""Bedrock's cross-region inference profiles: the area is the first part of the model's id."""


def is_region(name: str) -> bool:
    """Whether `name` can be a region's: lower-case letters, digits and dashes."""
    return _REGION.fullmatch(name) is not None


def within(region: str | None) -> frozenset[str]:
    """Returns every name that `region` answers to: its own, and the areas it lies in. Nothing where it is unknown."""
    if region is None:
        return frozenset()
    region = region.lower()
    return frozenset({region, *(area for area, members in AREAS.items() if region in members)})


def served_in(region: str | None, model: str) -> str | None:
    """Returns where a Bedrock model of this id is worked on, asked in `region`: a cross-region profile says where."""
    profile = _PROFILE.match(model)
    return profile.group(1) if profile else region
