"""A movie recommender that is judged on what people really watched next (extra ``recommender``)."""
