"""Python values to bytes and back."""

from outlive._codec.codec import Codec as Codec
from outlive._codec.codec import Encoded as Encoded
from outlive._codec.digests import digest as digest
from outlive._codec.types import TypeRegistry as TypeRegistry
