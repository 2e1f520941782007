"""The operations a model is made of, one file each: binding, torch reference, CPU kernel.

Every op takes and returns torch tensors and picks its kernel by the tensors' device. Activations
are fp32 on the CPU; weights and KV cache stay in the precision they are stored in.
"""

from kernels.attention import AttentionBatch, attention
from kernels.cache_layer import CacheLayer
from kernels.decode_token import DecoderLayer, TokenDecoder
from kernels.embedding import embedding
from kernels.matmul_transb import Matrices, matmul_transb, tune_products
from kernels.rms_norm import Norm, rms_norm
from kernels.rope_append import rope_append
from kernels.silu_mul import silu_mul
from kernels.threads import set_threads

__all__ = [
    "AttentionBatch",
    "CacheLayer",
    "DecoderLayer",
    "Matrices",
    "Norm",
    "TokenDecoder",
    "attention",
    "embedding",
    "matmul_transb",
    "rms_norm",
    "rope_append",
    "set_threads",
    "silu_mul",
    "tune_products",
]
