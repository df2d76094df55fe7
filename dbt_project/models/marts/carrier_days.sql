with

flights as (

    select * from {{ ref('stg_flights') }}
    {{ only_the_day() }}

),

weather as (

    select * from {{ ref('stg_weather') }}
    {{ only_the_day() }}

),

airlines as (

    select * from {{ ref('airlines') }}

)

select
    flights.carrier || '-' || flights.business_day as carrier_day,
    flights.business_day,
    flights.carrier,
    airlines.name as carrier_name,
    count(*) as departures,
    count(*) filter (where flights.is_cancelled) as cancellations,
    round(avg(flights.departure_delay_minutes), 1) as mean_delay_minutes,
    min(weather.visibility_miles) as worst_visibility_miles

from flights
left join weather
    on flights.origin = weather.origin
    and flights.time_hour = weather.time_hour
left join airlines
    on flights.carrier = airlines.carrier
group by all
