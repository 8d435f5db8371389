-- What did the cache save, since the beginning and today?
select * from get_generation_stats();
