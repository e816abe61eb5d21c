"""Targets "xgboost", "lightgbm", "catboost": objectives and metrics for gradient boosting, of NumPy alone."""
