from .models import StudyModel as StudyModel
