{# Leaves the rows of the day that a run is for; all landed days without one, or on a full refresh. #}
{% macro only_the_day() %}
    {%- if var('day', none) and not should_full_refresh() -%}
    where business_day = date '{{ var('day') }}'
    {%- endif -%}
{% endmacro %}
