"""Rounds the weights of a layer together, so that errors make up for each other instead of adding up."""

import numpy as np

from export.bias_correction import Values

DAMPING = 0.01  # of the mean of the diagonal, as in the paper's code


def round_together(weights: Values, moments: Values, limit: int) -> Values:
    """Return a layer's weights [O, ...] as whole numbers from -limit to limit, any shape; weights are in steps.

    moments: second moments [K, K] of the K inputs that a weight has each, sums of x·xᵀ.

    GPTQ (Frantar et al. 2022, arXiv 2210.17323): weight after weight of each output is rounded, and those that are left
    move so that they make up for its error as well as they can, the better the more alike their inputs are.
    """
    left = weights.reshape(len(weights), -1).astype(np.float64)
    damped = moments + np.eye(len(moments)) * max(DAMPING * np.diag(moments).mean(), 1e-9)
    spread = np.linalg.cholesky(np.linalg.inv(damped)).T
    for column in range(left.shape[1]):
        rounded = np.rint(left[:, column]).clip(-limit, limit)
        error = (left[:, column] - rounded) / spread[column, column]
        left[:, column + 1 :] -= np.outer(error, spread[column, column + 1 :])
        left[:, column] = rounded
    return left.reshape(weights.shape)
