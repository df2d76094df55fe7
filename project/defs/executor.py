import dagster as dg


@dg.definitions
def executor() -> dg.Definitions:
    # Every job here is a single step, and a second process for it would only cost time.
    return dg.Definitions(executor=dg.in_process_executor)
