"""Features for the churn model."""

import dagster


@dagster.asset(group_name="features", owners=["team:ml"])
def payments_history():
    """Payments of the last two years."""
    return []


@dagster.asset(group_name="features", deps=[payments_history], tags={"pii": "true"})
def customer_features():
    """One row a customer."""
    return []
