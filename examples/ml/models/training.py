"""The churn model and when it is trained."""

import dagster

from models.features import customer_features


@dagster.asset(group_name="models", deps=[customer_features], kinds={"python"})
def churn_model():
    """The model that is served."""
    return {"accuracy": 0.9}


retrain = dagster.define_asset_job("retrain", selection=["customer_features", "churn_model"])

weekly_retraining = dagster.ScheduleDefinition(
    job=retrain, cron_schedule="0 4 * * 1", execution_timezone="Europe/Berlin"
)
