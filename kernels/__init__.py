"""The operations a model is made of, one file each: binding and torch reference.

Every op takes and returns torch tensors and picks its kernel by the tensors' device: `cpu/` has
those that Numba compiles, `cuda/` launches those of `csrc/`. The residual stream and the logits are
fp32. What passes between the ops of a layer is fp32 on the CPU and of the weights' precision on
CUDA; weights and KV cache stay in the precision they are stored in.
"""

from kernels.attention import AttentionBatch, attention, decode_spans, prefill_tiles
from kernels.cache_layer import CacheLayer
from kernels.cuda.decode_token import (
    GpuDecoder,
    GpuTokenDecoder,
    gpu_token_decoder,
)
from kernels.cuda.matmul_transb import tune, tune_qkv
from kernels.cuda.upload import release as end_uploads
from kernels.decode_token import DecoderLayer, TokenDecoder
from kernels.embedding import embedding
from kernels.matmul_transb import Matrices, matmul_transb, tune_products
from kernels.product_choice import Products, WayTable, products, use_products, way_table
from kernels.qkv_rope_append import qkv_rope_append
from kernels.rms_norm import Norm, rms_norm
from kernels.rope_append import Rotary, rope_append
from kernels.sample import DecodeRows, SampledRows, SamplingTable, sample
from kernels.sample_drafts import NO_GUESS, DraftRows, DraftTable
from kernels.silu_mul import silu_mul
from kernels.threads import set_threads

__all__ = [
    "NO_GUESS",
    "AttentionBatch",
    "CacheLayer",
    "DecodeRows",
    "DecoderLayer",
    "DraftRows",
    "DraftTable",
    "GpuDecoder",
    "GpuTokenDecoder",
    "Matrices",
    "Norm",
    "Products",
    "Rotary",
    "SampledRows",
    "SamplingTable",
    "TokenDecoder",
    "WayTable",
    "attention",
    "decode_spans",
    "embedding",
    "end_uploads",
    "gpu_token_decoder",
    "matmul_transb",
    "prefill_tiles",
    "products",
    "qkv_rope_append",
    "rms_norm",
    "rope_append",
    "sample",
    "set_threads",
    "silu_mul",
    "tune",
    "tune_products",
    "tune_qkv",
    "use_products",
    "way_table",
]
