with

source as (

    select * from {{ source('landing', 'weather') }}

)

select
    origin,
    time_hour,
    visib as visibility_miles,
    wind_speed as wind_speed_mph,
    precip as precipitation_inches

from source
