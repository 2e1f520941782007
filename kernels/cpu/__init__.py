"""CPU kernels, compiled at run time by Numba: no compiler is needed on the machine."""
