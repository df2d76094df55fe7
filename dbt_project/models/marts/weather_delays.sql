with

flights as (

    select * from {{ ref('stg_flights') }}
    {{ only_the_day() }}

),

weather as (

    select * from {{ ref('stg_weather') }}
    {{ only_the_day() }}

),

departures as (

    select
        flights.business_day,
        flights.is_cancelled,
        flights.departure_delay_minutes,
        case
            when weather.visibility_miles is null then 'unknown'
            when weather.visibility_miles < 2 then 'under 2 miles'
            when weather.visibility_miles < 10 then '2 to 10 miles'
            else '10 miles'
        end as visibility

    from flights
    left join weather
        on flights.origin = weather.origin
        and flights.time_hour = weather.time_hour

)

select
    visibility || ', ' || business_day as visibility_day,
    business_day,
    visibility,
    count(*) as departures,
    count(*) filter (where is_cancelled) as cancellations,
    round(avg(departure_delay_minutes), 1) as mean_delay_minutes

from departures
group by all
