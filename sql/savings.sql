-- What did the cache save, since the beginning and today?
select * from public.get_generation_stats();
