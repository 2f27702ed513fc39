//! TPE, the tree-structured Parzen estimator.
