"""The API's answers, a module for each concern. Columnar where they hold series: rows of models cost a hundred times
more to encode."""
