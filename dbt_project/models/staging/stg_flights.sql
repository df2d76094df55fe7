with

source as (

    select * from {{ source('landing', 'flights') }}

)

select
    origin,
    dest as destination,
    carrier,
    flight as flight_number,
    cast(make_date(year, month, day) as date) as business_day,
    time_hour,
    dep_delay as departure_delay_minutes,
    dep_time is null as is_cancelled

from source
