#!/bin/sh
# Imports the "CRM Sales Opportunities" data set (accounts, products, sales teams, sales pipeline) from DIR.
#
#   CRM_URL=http://127.0.0.1:8080 CRM_EMAIL=… CRM_PASSWORD=… docs/examples/import-sales-pipeline.sh DIR
#
# A regional office becomes a team, a manager a team below it, an agent a user of the manager's team.
# May be run again: what is there already is skipped.
set -eu

if [ $# -ne 1 ] || [ ! -f "$1/sales_pipeline.csv" ]; then
  echo "usage: $0 DIR   (the folder with sales_pipeline.csv and its three companions)" >&2
  exit 2
fi
data=$1
PATH="$(dirname "$0")/../../.venv/bin:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Offices and managers, each once: team,office (an office has none above it).
awk -F, 'NR > 1 { sub(/\r$/, ""); offices[$3]; managers[$2] = $3 }
  END {
    print "team,office"
    for (office in offices) print office ","
    for (manager in managers) print manager "," managers[manager]
  }' "$data/sales_teams.csv" > "$work/teams.csv"
crm import teams "$work/teams.csv" \
  --map team=display_name --map office=parent --lookup office=teams.display_name

# The data set has no e-mail addresses: moses.frase@example.com.
awk -F, 'NR == 1 { print "agent,manager,email"; next }
  { email = tolower($1); gsub(/[^a-z-]+/, ".", email); print $1 "," $2 "," email "@example.com" }' \
  "$data/sales_teams.csv" > "$work/agents.csv"
crm import users "$work/agents.csv" \
  --map agent=display_name --map email=email \
  --map manager=team --lookup manager=teams.display_name \
  --set roles=Sales --lookup roles=roles.display_name

crm import products "$data/products.csv" \
  --map product=display_name --map series=category \
  --map sales_price=unit_price --set unit_price.currency_code=USD

# Revenue is given in millions of dollars.
awk -F, 'BEGIN { OFS = "," } NR > 1 { $4 = sprintf("%.2f", $4 * 1000000) } { print }' \
  "$data/accounts.csv" > "$work/accounts.csv"
crm import accounts "$work/accounts.csv" \
  --map account=display_name \
  --map sector=industry --value sector:technolgy=technology \
  --map year_established=founded_year --map employees=employee_count \
  --map revenue=annual_revenue --set annual_revenue.currency_code=USD \
  --map office_location=addresses.region_code --set addresses.label=office \
  --value "office_location:United States=US" --value office_location:Kenya=KE \
  --value office_location:Philipines=PH --value office_location:Japan=JP \
  --value office_location:Italy=IT --value office_location:Norway=NO \
  --value office_location:Korea=KR --value office_location:Jordan=JO \
  --value office_location:Brazil=BR --value office_location:Germany=DE \
  --value office_location:Panama=PA --value office_location:Belgium=BE \
  --value office_location:Romania=RO --value office_location:Poland=PL \
  --value office_location:China=CN \
  --map subsidiary_of=parent_account --lookup subsidiary_of=accounts.display_name

# The stage tells the state. A value of 0 is no value: what is lost was worth nothing we know of.
crm import opportunities "$data/sales_pipeline.csv" \
  --map opportunity_id=external_id --map opportunity_id=display_name \
  --map sales_agent=owner --lookup sales_agent=users.display_name \
  --map product=lines.product --lookup product=products.display_name \
  --value "product:GTXPro=GTX Pro" \
  --map account=account --lookup account=accounts.display_name \
  --map deal_stage=stage --map engage_date=open_time --map close_date=close_time \
  --map close_value=amount --set amount.currency_code=USD --value close_value:0=
