"""What both paths need to build a mart with dbt."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject

from project.defs import metadata
from project.defs.ingest.feeds import OWNERS
from project.defs.partitions import DAYS
from project.fan_in import batch_of
from project.paths import DBT_PROJECT, data_folder

WAREHOUSE_POOL = "warehouse"
"""A DuckDB file takes one writing process; dbt runs in this pool wait for each other."""

EACH_DAY_BY_ITSELF = dg.BackfillPolicy.multi_run()
"""A run builds one day; dagster-dbt's default is one run for all days of a backfill."""


# The dbt beside this Python, also when the virtual environment is not on the PATH.
DBT_EXECUTABLE = shutil.which("dbt", path=Path(sys.executable).parent) or "dbt"


def prepared_project() -> DbtProject:
    """Returns the dbt project with a manifest, which it makes only if there is none.

    Each process that runs something imports the definitions; parsing there would cost seconds.
    """
    project = DbtProject(project_dir=DBT_PROJECT)
    if not project.manifest_path.exists():
        data_folder().mkdir(parents=True, exist_ok=True)
        dbt = DbtCliResource(project_dir=project, dbt_executable=DBT_EXECUTABLE)
        dbt.cli(["parse", "--quiet"], target_path=project.target_path).wait()
    return project


DBT = prepared_project()


class MartTranslator(DagsterDbtTranslator):
    """Puts the dbt nodes of one path into its group, with the path's automation condition.

    Models are built by day; a seed has no days, and is loaded with whatever day is built.
    """

    def __init__(
        self, group_name: str, automation_condition: dg.AutomationCondition | None = None
    ) -> None:
        super().__init__()
        self._group_name = group_name
        self._automation_condition = automation_condition

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        if unique_id.startswith("source."):
            return spec  # A feed, which describes itself.
        return spec.replace_attributes(
            group_name=self._group_name,
            owners=OWNERS,
            automation_condition=self._automation_condition,
        )

    def get_partitions_def(
        self, dbt_resource_props: Mapping[str, Any]
    ) -> dg.PartitionsDefinition | None:
        return DAYS if dbt_resource_props["resource_type"] == "model" else None


def build(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Builds what was selected with dbt: of a mart, the day of the run's partition.

    A mart shows its day, and the upstream runs that made it, a click away.
    """
    command = ["build"]
    if context.has_partition_key:
        command += ["--vars", json.dumps({"day": context.partition_key})]
    invocation = dbt.cli(command, context=context, raise_on_error=False)
    # All of it, before the warehouse is read: it takes one process, and until then that is dbt.
    events = list(invocation.stream().fetch_row_counts())
    made_by = metadata.made_by(batch_of(context))
    for event in events:
        if isinstance(event, dg.Output) and event.output_name in metadata.PICTURES:
            of_day = metadata.of_day(event.output_name, context.partition_key)
            # In this order: a run's log shows the first few, and the others when asked.
            event = event.with_metadata({**made_by, **event.metadata, **of_day})
        yield event
    if error := invocation.get_error():
        raise error


@dg.definitions
def warehouse() -> dg.Definitions:
    return dg.Definitions(
        resources={"dbt": DbtCliResource(project_dir=DBT, dbt_executable=DBT_EXECUTABLE)}
    )
