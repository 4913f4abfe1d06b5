"""Machine learning: real Dagster, with assets that depend on each other."""

import dagster

from models.features import customer_features, payments_history
from models.training import churn_model, retrain, weekly_retraining

defs = dagster.Definitions(
    assets=[payments_history, customer_features, churn_model],
    jobs=[retrain],
    schedules=[weekly_retraining],
)
