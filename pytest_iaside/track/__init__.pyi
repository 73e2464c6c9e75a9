from .callbacks import lightning_callback as lightning_callback
from .callbacks import transformers_callback as transformers_callback
from .exporters import export as export
from .exporters import to_mlflow as to_mlflow
from .exporters import to_tensorboard as to_tensorboard
from .history import History as History
from .history import Point as Point
from .trend import assert_no_robustness_decline as assert_no_robustness_decline
