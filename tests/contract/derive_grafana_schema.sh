#!/usr/bin/env bash
# Makes grafana_schema.json out of the types that Grafana publishes, with every object closed. Needs node 20.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"
npm init -y > /dev/null
npm install --silent --ignore-scripts @grafana/schema@11.6.0 ts-json-schema-generator@2.3 typescript@5.4
raw=./node_modules/@grafana/schema/dist/esm/raw
derive() { # interface, its import, its body
  printf '%s\nexport interface %s %s\n' "$2" "$1" "$3" > "$1.ts"
  npx ts-json-schema-generator --path "$1.ts" --type "$1" --no-type-check --out "$1.json"
}
derive DashboardFile "import { Dashboard, RowPanel, Panel } from '$raw/dashboard/x/dashboard_types.gen';" \
  '{ dashboard: Dashboard; row: RowPanel; panel: Panel }'
for kind in TimeSeries Heatmap; do
  derive "${kind}Panel" "import { Options, FieldConfig } from '$raw/composable/${kind,,}/panelcfg/x/${kind}PanelCfg_types.gen';" \
    '{ options: Options; custom: FieldConfig }'
done
for kind in Stat BarGauge; do
  derive "${kind}Panel" "import { Options } from '$raw/composable/${kind,,}/panelcfg/x/${kind}PanelCfg_types.gen';" \
    '{ options: Options }'
done
python3 - "$here/grafana_schema.json" << 'END'
import json, pathlib, sys

def strip(value):
    """Without the descriptions, two thirds of it."""
    if isinstance(value, dict):
        return {key: strip(one) for key, one in value.items() if not (key == "description" and isinstance(one, str))}
    return [strip(one) for one in value] if isinstance(value, list) else value

kinds = ("DashboardFile", "TimeSeriesPanel", "StatPanel", "BarGaugePanel", "HeatmapPanel")
schemas = {kind: strip(json.loads(pathlib.Path(f"{kind}.json").read_text())) for kind in kinds}
pathlib.Path(sys.argv[1]).write_text(json.dumps(schemas, indent=1, sort_keys=True) + "\n")
END
