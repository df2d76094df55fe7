with

source as (

    select * from {{ source('landing', 'weather') }}

)

select
    origin,
    cast(make_date(year, month, day) as date) as business_day,
    time_hour,
    visib as visibility_miles,
    wind_speed as wind_speed_mph,
    precip as precipitation_inches

from source
