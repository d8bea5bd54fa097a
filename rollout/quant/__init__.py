"""The INT4 number format that the engine serves and the learner trains through."""

from rollout.quant.grid import Quantized, dequantize, fake_quantize, quantize
from rollout.quant.pack import pack_int4, unpack_int4
from rollout.quant.scheme import QuantScheme

__all__ = ["QuantScheme", "Quantized", "dequantize", "fake_quantize", "pack_int4", "quantize", "unpack_int4"]
