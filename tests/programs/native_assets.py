"""Native assets whose values are kept, by partition and by io managers; for Python 3.6 and later."""

from runner_shim import Definitions, Output, ResourceDefinition, RetryPolicy, asset


class Rows:
    """What only this module knows how to unpickle."""

    def __init__(self, count):
        self.count = count


@asset
def prices(context):
    return Rows(3)


@asset
def orders(context, prices):
    context.log.info("prices: %d", prices.count)
    return [prices.count] * 2


@asset(deps=["orders"])
def invoice(context, orders, discount=1):
    context.log.info("orders: %s", orders)


@asset(partitions_def=["eu", "us"])
def sales(context, prices):
    return f"{context.partition_key} {prices.count}"


@asset(partitions_def=["eu", "us", "asia"])
def margin(context, sales):
    context.log.info("%s", sales)
    return sales


@asset
def total(sales):
    pass


@asset
def stream():
    return (one for one in range(3))


@asset(io_manager_key="lake")
def measured(context):
    return Output([1, 2], metadata={"rows": 2})


@asset(io_manager_key="functions", partitions_def=["eu", "us"], key_prefix="core")
def region(context, measured):
    context.log.info("measured: %s", measured)
    return context.partition_key.upper()


@asset(key_prefix="core", partitions_def=["eu", "us"])
def continent(context, region):
    context.log.info("region: %s", region)


@asset(io_manager_key="nothing")
def kept_by_nothing():
    return 1


@asset(retry_policy=RetryPolicy(max_retries=1))
def flaky_asset(context, prices):
    if not context.retry_number:
        raise ValueError("not yet")
    return prices.count


@asset
def broken_asset(prices):
    raise ValueError("broken")


@asset
def after_broken(context, broken_asset, prices):
    context.log.info("%d %d", broken_asset, prices.count)


class Lake:
    """An io manager: an object with the two functions."""

    kept = {}

    def handle_output(self, context, value):
        context.log.info("lake keeps %s %s", context.asset_key, value)
        context.add_output_metadata({"path": "lake/" + context.asset_key})
        self.kept[context.asset_key] = value

    def load_input(self, context):
        return [one * 10 for one in self.kept.get(context.asset_key, [0])]


def _functions(context):
    kept = {}

    def handle_output(context, value):
        kept[context.asset_key, context.partition_key] = value

    def load_input(context):
        return kept[context.asset_key, context.partition_key]

    yield {"handle_output": handle_output, "load_input": load_input}
    context.log.info("flushed %s", sorted(kept))


defs = Definitions(
    assets=[
        prices,
        orders,
        invoice,
        sales,
        margin,
        total,
        stream,
        measured,
        region,
        continent,
        kept_by_nothing,
        flaky_asset,
        broken_asset,
        after_broken,
    ],
    resources={
        "lake": Lake(),
        "functions": ResourceDefinition("functions", _functions),
        "nothing": object(),
    },
)
